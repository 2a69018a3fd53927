CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS accounts (
    name TEXT PRIMARY KEY,
    role TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    must_change INTEGER NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE TABLE IF NOT EXISTS tokens (
    hash TEXT PRIMARY KEY,
    account TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX IF NOT EXISTS tokens_by_account ON tokens (account);
CREATE TABLE IF NOT EXISTS devices (
    id TEXT PRIMARY KEY,
    body TEXT NOT NULL,
    private TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS device_secrets (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    display TEXT NOT NULL,
    ha1 TEXT NOT NULL,
    PRIMARY KEY (kind, name)
);
CREATE TABLE IF NOT EXISTS conferences (
    id TEXT PRIMARY KEY,
    number TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    pin TEXT NOT NULL,
    locked INTEGER NOT NULL,
    picture TEXT,
    created_at BIGINT NOT NULL
);
CREATE TABLE IF NOT EXISTS conference_channels (
    conference TEXT NOT NULL,
    channel TEXT NOT NULL,
    PRIMARY KEY (conference, channel)
);
CREATE TABLE IF NOT EXISTS conference_floors (
    conference TEXT PRIMARY KEY
);
CREATE TABLE IF NOT EXISTS conference_lobbies (
    conference TEXT PRIMARY KEY,
    lobby TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS guest_links (
    id TEXT PRIMARY KEY,
    hash TEXT NOT NULL UNIQUE,
    conference TEXT NOT NULL,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    camera INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    uses INTEGER NOT NULL,
    used INTEGER NOT NULL,
    withdrawn INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS guests (
    hash TEXT PRIMARY KEY,
    link TEXT NOT NULL,
    name TEXT NOT NULL,
    state TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE TABLE IF NOT EXISTS patches (
    id TEXT PRIMARY KEY,
    a TEXT NOT NULL,
    b TEXT NOT NULL,
    a_to_b INTEGER NOT NULL,
    b_to_a INTEGER NOT NULL,
    until_ms INTEGER
);
CREATE TABLE IF NOT EXISTS conference_speakers (
    conference TEXT NOT NULL,
    channel TEXT NOT NULL,
    duplex TEXT NOT NULL,
    PRIMARY KEY (conference, channel)
);
CREATE TABLE IF NOT EXISTS walls (
    id TEXT PRIMARY KEY,
    layout INTEGER NOT NULL,
    tiles TEXT NOT NULL,
    changed_by TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS audit (
    seq INTEGER PRIMARY KEY,
    at BIGINT NOT NULL,
    account TEXT NOT NULL,
    address TEXT NOT NULL,
    verb TEXT NOT NULL,
    object TEXT NOT NULL,
    detail TEXT NOT NULL,
    outcome TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS audit_by_time ON audit (at);
CREATE INDEX IF NOT EXISTS audit_by_account ON audit (account, at);
CREATE TABLE IF NOT EXISTS pictures (
    id TEXT PRIMARY KEY,
    channel TEXT NOT NULL,
    device TEXT NOT NULL,
    taken_at BIGINT NOT NULL,
    received_at BIGINT NOT NULL,
    session TEXT NOT NULL,
    source TEXT NOT NULL,
    ordered_by TEXT NOT NULL,
    file TEXT NOT NULL,
    name TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    width BIGINT NOT NULL,
    height BIGINT NOT NULL
);
CREATE INDEX IF NOT EXISTS pictures_by_channel ON pictures (channel, taken_at);
CREATE INDEX IF NOT EXISTS pictures_by_time ON pictures (taken_at);
CREATE TABLE IF NOT EXISTS alarms (
    id TEXT PRIMARY KEY,
    at BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    count BIGINT NOT NULL,
    device_at BIGINT,
    device TEXT NOT NULL,
    channel TEXT,
    source TEXT NOT NULL,
    name TEXT NOT NULL,
    severity INTEGER NOT NULL,
    kind TEXT NOT NULL,
    zh TEXT NOT NULL,
    en TEXT NOT NULL,
    description TEXT NOT NULL,
    longitude DOUBLE PRECISION,
    latitude DOUBLE PRECISION,
    wants_reset INTEGER NOT NULL,
    acknowledged_at BIGINT,
    acknowledged_by TEXT,
    note TEXT,
    reset_at BIGINT,
    reset_by TEXT
);
CREATE INDEX IF NOT EXISTS alarms_by_time ON alarms (at);
CREATE INDEX IF NOT EXISTS alarms_by_device ON alarms (device, at);
CREATE INDEX IF NOT EXISTS alarms_open ON alarms (at) WHERE acknowledged_at IS NULL;
CREATE TABLE IF NOT EXISTS positions (
    subject TEXT NOT NULL,
    at BIGINT NOT NULL,
    device_at BIGINT,
    longitude DOUBLE PRECISION NOT NULL,
    latitude DOUBLE PRECISION NOT NULL,
    speed DOUBLE PRECISION,
    direction DOUBLE PRECISION,
    altitude DOUBLE PRECISION,
    height DOUBLE PRECISION,
    PRIMARY KEY (subject, at)
);
CREATE INDEX IF NOT EXISTS positions_by_time ON positions (at);
CREATE TABLE IF NOT EXISTS device_fetches (
    id TEXT PRIMARY KEY,
    channel TEXT NOT NULL,
    name TEXT NOT NULL,
    from_ms BIGINT NOT NULL,
    to_ms BIGINT NOT NULL,
    speed BIGINT NOT NULL,
    parts TEXT NOT NULL,
    state TEXT NOT NULL,
    ordered_by TEXT NOT NULL,
    since_ms BIGINT NOT NULL
);
CREATE TABLE IF NOT EXISTS control_priorities (
    account TEXT PRIMARY KEY,
    priority INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS preset_names (
    channel TEXT NOT NULL,
    preset INTEGER NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (channel, preset)
);
CREATE TABLE IF NOT EXISTS calls (
    id TEXT PRIMARY KEY,
    direction TEXT NOT NULL,
    caller TEXT NOT NULL,
    caller_name TEXT NOT NULL,
    callee TEXT NOT NULL,
    callee_name TEXT NOT NULL,
    dialled TEXT NOT NULL,
    began_at BIGINT NOT NULL,
    rang_at BIGINT,
    answered_at BIGINT,
    ended_at BIGINT NOT NULL,
    ended_by TEXT NOT NULL,
    code TEXT NOT NULL,
    zh TEXT NOT NULL,
    en TEXT NOT NULL,
    legs TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS calls_by_time ON calls (began_at);
CREATE INDEX IF NOT EXISTS calls_by_caller ON calls (caller, began_at);
CREATE INDEX IF NOT EXISTS calls_by_callee ON calls (callee, began_at);
CREATE TABLE IF NOT EXISTS call_queues (
    call TEXT PRIMARY KEY,
    queue TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS desk_items (
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (kind, id)
);
CREATE TABLE IF NOT EXISTS phone_forwards (
    phone TEXT PRIMARY KEY,
    busy TEXT,
    no_answer TEXT,
    offline TEXT
);
CREATE TABLE IF NOT EXISTS account_phones (
    account TEXT PRIMARY KEY,
    phone TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS messages (
    id TEXT PRIMARY KEY,
    at BIGINT NOT NULL,
    device_at BIGINT,
    thread TEXT NOT NULL,
    thread_name TEXT NOT NULL,
    sender TEXT NOT NULL,
    name TEXT NOT NULL,
    link TEXT NOT NULL,
    text TEXT NOT NULL,
    file TEXT NOT NULL,
    file_name TEXT NOT NULL,
    file_type TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    deliveries TEXT NOT NULL,
    pending INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS messages_by_thread ON messages (thread, at);
CREATE INDEX IF NOT EXISTS messages_by_time ON messages (at);
CREATE INDEX IF NOT EXISTS messages_pending ON messages (id) WHERE pending = 1;
CREATE TABLE IF NOT EXISTS broadcasts (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    body TEXT NOT NULL,
    ordered_by TEXT NOT NULL,
    stopped_by TEXT,
    state TEXT NOT NULL,
    seconds DOUBLE PRECISION NOT NULL,
    started_at BIGINT NOT NULL,
    ended_at BIGINT
);
CREATE INDEX IF NOT EXISTS broadcasts_by_time ON broadcasts (started_at);
CREATE TABLE IF NOT EXISTS broadcast_targets (
    broadcast TEXT NOT NULL,
    n BIGINT NOT NULL,
    target TEXT NOT NULL,
    name TEXT NOT NULL,
    state TEXT NOT NULL,
    tries BIGINT NOT NULL,
    heard DOUBLE PRECISION NOT NULL,
    code TEXT,
    words TEXT NOT NULL,
    changed_at BIGINT NOT NULL,
    PRIMARY KEY (broadcast, n)
);
