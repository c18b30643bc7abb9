-- Courses: what is taught, the facts of learning, and what is folded from them: lessons, courses, certificates.
-- depends: 0006_referrals

-- migrate: apply

CREATE TABLE courses (
    course_id text COLLATE "C" PRIMARY KEY,
    title text NOT NULL,
    certificate text NOT NULL CHECK (certificate IN ('course_completed', 'lesson_completed', 'none')),
    version bigint NOT NULL,
    updated_at timestamptz NOT NULL,
    deleted_at timestamptz,
    pending boolean NOT NULL DEFAULT true,
    watermark text COLLATE "C" NOT NULL DEFAULT ''
);

CREATE INDEX courses_pending ON courses (course_id) WHERE pending;

CREATE TABLE lessons (
    lesson_id text COLLATE "C" PRIMARY KEY,
    course_id text COLLATE "C" NOT NULL,
    title text NOT NULL,
    duration_seconds int,
    position int NOT NULL,
    removed_at timestamptz
);

CREATE INDEX lessons_course ON lessons (course_id, position);

CREATE TABLE course_events (
    subject text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    kind text NOT NULL,
    user_id text,
    org_id text,
    data jsonb NOT NULL,
    outcome jsonb NOT NULL,
    at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    flags smallint NOT NULL DEFAULT 0,
    PRIMARY KEY (subject, id, received_at)
) PARTITION BY RANGE (received_at);

CREATE TABLE user_progress (
    id text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    lesson_id text COLLATE "C" NOT NULL,
    course_id text COLLATE "C",
    completed boolean NOT NULL DEFAULT false,
    watch_time_seconds bigint GENERATED ALWAYS AS (greatest(watched_seconds, set_seconds)) STORED,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    deleted_at timestamptz GENERATED ALWAYS AS
        (CASE WHEN touched_at IS NULL OR last_deleted_at >= touched_at THEN last_deleted_at END) STORED,
    watched_seconds bigint NOT NULL,
    set_seconds bigint NOT NULL,
    completed_changed_at timestamptz,
    first_completed_at timestamptz,
    first_completion_received_at timestamptz,
    claimed_course_id text COLLATE "C",
    claimed_at timestamptz,
    touched_at timestamptz,
    last_deleted_at timestamptz,
    received_at timestamptz NOT NULL,
    CONSTRAINT idx_user_progress_user_lesson PRIMARY KEY (user_id, lesson_id)
) WITH (fillfactor = 80);

CREATE INDEX idx_user_progress_user_id ON user_progress (user_id, course_id);
CREATE INDEX idx_user_progress_lesson_id ON user_progress (lesson_id);
CREATE INDEX idx_user_progress_course_id ON user_progress (course_id);
CREATE INDEX user_progress_id ON user_progress (id);

-- course_id '': the lessons of no known course; enrolled_at null: not enrolled, or no longer
CREATE TABLE user_courses (
    user_id text COLLATE "C" NOT NULL,
    course_id text COLLATE "C" NOT NULL,
    enrolled_at timestamptz,
    declared_at timestamptz,
    learner_name text,
    named_at timestamptz,
    lessons_total int,
    lessons_completed int NOT NULL,
    watch_time_seconds bigint NOT NULL,
    last_at timestamptz,
    completed_at timestamptz,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, course_id)
) WITH (fillfactor = 80);

CREATE INDEX user_courses_course ON user_courses (course_id, user_id);

CREATE TABLE certificates (
    serial text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    course_id text COLLATE "C" NOT NULL,
    issued_at timestamptz NOT NULL,
    revoked_at timestamptz,
    revoked_reason text,
    ruled_at timestamptz,
    learner_name text,
    PRIMARY KEY (user_id, course_id)
);

CREATE INDEX certificates_serial ON certificates (serial);

CREATE TABLE lookups (
    subject text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    body bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    due_at timestamptz NOT NULL DEFAULT now(),
    attempts int NOT NULL DEFAULT 0,
    PRIMARY KEY (subject, id)
);

CREATE INDEX lookups_due ON lookups (due_at);

-- migrate: rollback

DROP TABLE lookups;
DROP TABLE certificates;
DROP TABLE user_courses;
DROP TABLE user_progress;
DROP TABLE course_events;
DROP TABLE lessons;
DROP TABLE courses;
