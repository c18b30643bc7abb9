"use strict";
// GraphiQL with a field for the key or token. It lives as long as the tab, and goes nowhere but to this address.
(() => {
  const field = document.getElementById("token");
  const show = document.getElementById("show");
  const who = document.getElementById("who");
  const address = location.pathname;
  const kept = "milepost.graphql.token";

  field.value = sessionStorage.getItem(kept) || "";
  field.addEventListener("input", () => {
    sessionStorage.setItem(kept, field.value.trim());
    tell("", "");
  });
  document.getElementById("bar").addEventListener("submit", (event) => event.preventDefault());
  show.addEventListener("click", () => {
    const shown = field.type === "text";
    field.type = shown ? "password" : "text";
    show.setAttribute("aria-pressed", String(!shown));
    show.textContent = shown ? "Show" : "Hide";
  });

  function tell(state, text) {
    who.dataset.state = state;
    who.textContent = text;
  }

  async function fetcher(parameters, options) {
    const headers = {
      Accept: "application/graphql-response+json, application/json;q=0.9",
      "Content-Type": "application/json",
      ...((options && options.headers) || {}),
    };
    const token = field.value.trim();
    // What the tools ask of the schema needs nobody in particular: a wrong token must not hide it.
    if (token && parameters.operationName !== "IntrospectionQuery") headers.Authorization = `Bearer ${token}`;
    const answer = await fetch(address, { method: "POST", headers, body: JSON.stringify(parameters) });
    if (answer.status === 401) tell("refused", token ? "not accepted" : "a key or token is needed");
    else if (headers.Authorization) tell("known", "accepted");
    return answer.json();
  }

  const example = `# The key or token goes into the field above. Ctrl-Space completes, Ctrl-Enter runs.
query Progress {
  getCourseProgress(userId: "user-1", courseId: "course-1") {
    success
    message
    data {
      courseId
      total_lessons
      completed_lessons
      progress_percentage
      total_watch_time
    }
  }
}

mutation Completed {
  markLessonAsCompleted(userId: "user-1", lessonId: "lesson-1") {
    success
    message
    data {
      id
      completed
      updatedAt
    }
  }
}
`;
  ReactDOM.createRoot(document.getElementById("graphiql")).render(
    React.createElement(GraphiQL, { fetcher, defaultQuery: example, shouldPersistHeaders: false }),
  );
})();
