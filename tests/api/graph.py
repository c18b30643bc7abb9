"""Somebody who asks by GraphQL."""

from __future__ import annotations

import uuid
from typing import Any

from tests.api.service import Answer, Service

PATH = "/userProgress/graphql"


def fresh(what: str) -> str:
    """An id that no other test uses."""
    return f"{what}-{uuid.uuid4().hex[:12]}"


class Learner:
    """A user with a token of their own, or, with `by`, a service that asks for them."""

    def __init__(self, service: Service, by: str | None = None) -> None:
        self.service, self.id = service, fresh("learner")
        self.by = service.token(self.id, aud="milepost") if by is None else by

    async def post(self, query: Any, variables: Any = None, **headers: str) -> Answer:
        """The answer as it came."""
        return await self.service.send({"query": query, "variables": variables}, PATH, by=self.by, **headers)

    async def ask(self, query: str, variables: Any = None, **headers: str) -> dict[str, Any]:
        """The data, of an answer without errors."""
        answer = await self.post(query, variables, **headers)
        assert answer.status == 200, answer
        assert "errors" not in answer.body, answer.body["errors"]
        data: dict[str, Any] = answer.body["data"]
        return data

    async def one(self, query: str, variables: Any = None, **headers: str) -> dict[str, Any]:
        """The envelope of an operation with one field."""
        (found,) = (await self.ask(query, variables, **headers)).values()
        envelope: dict[str, Any] = found
        return envelope

    async def create(self, lesson: str, course: str | None = None, **more: Any) -> dict[str, Any]:
        """Begin a lesson; the row."""
        given = {"userId": self.id, "lessonId": lesson, "courseId": course, **more}
        found = await self.one(CREATE, {"input": given})
        assert found["success"], found
        row: dict[str, Any] = found["data"]
        return row

    async def codes(self, query: Any, variables: Any = None, **headers: str) -> list[str]:
        """The codes of the errors of an answer."""
        answer = await self.post(query, variables, **headers)
        return [one["extensions"]["code"] for one in answer.body["errors"]]


ROW = "id userId lessonId courseId completed watch_time_seconds createdAt updatedAt"
CREATE = f"""mutation ($input: CreateUserProgressInput!) {{
  createUserProgress(createUserProgressInput: $input) {{ success message code data {{ {ROW} }} }}
}}"""
UPDATE = f"""mutation ($input: UpdateUserProgressInput!) {{
  updateUserProgress(updateUserProgressInput: $input) {{ success message code data {{ {ROW} }} }}
}}"""
DELETE = "mutation ($id: ID!) { deleteUserProgress(id: $id) { success message code data { id } } }"
FIND = f"query ($id: ID!) {{ userProgress(id: $id) {{ success message code data {{ {ROW} }} }} }}"
LIST = f"""query ($filter: UserProgressFilter, $page: Int, $limit: Int) {{
  userProgressList(filter: $filter, page: $page, limit: $limit) {{
    success message code items {{ {ROW} }} pagination {{ totalItems totalPages currentPage }}
  }}
}}"""
WATCH = f"""mutation ($user: ID!, $lesson: ID!, $seconds: Int!) {{
  updateLessonWatchTime(userId: $user, lessonId: $lesson, seconds: $seconds) {{
    success message code data {{ {ROW} }}
  }}
}}"""
MARK = f"""mutation ($user: ID!, $lesson: ID!) {{
  markLessonAsCompleted(userId: $user, lessonId: $lesson) {{ success message code data {{ {ROW} }} }}
}}"""
COURSE = """query ($user: ID!, $course: ID!) {
  getCourseProgress(userId: $user, courseId: $course) {
    success message code
    data { courseId total_lessons completed_lessons progress_percentage total_watch_time }
  }
}"""
STATS = """query ($user: ID!) {
  getUserProgressStats(userId: $user) {
    success message code data { total_courses_enrolled total_lessons_completed total_watch_time_hours }
  }
}"""
