create table if not exists peer_events (
    id text primary key,
    session_id text not null,
    event_type text,
    category text,
    element_id text,
    selection_value text,
    previous_value text,
    time_spent int,
    at timestamptz not null,
    received_at timestamptz not null default now()
);
create index if not exists peer_events_session_at on peer_events (session_id, at);
