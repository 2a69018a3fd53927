// The things of the API, by hand from docs/ref/api.md. Nothing here that is not there.

import type { Holder } from './control';

export type Role = 'viewer' | 'operator' | 'admin';
export type Whose = 'you' | 'device' | 'peer' | 'us';
export interface Text { zh: string; en: string }

export interface ApiErrorBody extends Text { code: string; whose: Whose; retry: boolean; where?: string }
export interface Fault extends Text { code: string; whose: Whose; retry: boolean; next_zh?: string; next_en?: string; next?: Text[] }

export interface Account { name: string; role: Role; must_change_password: boolean; priority?: number; phone?: string | null; language?: string | null }
export interface Site { name_zh: string; name_en: string; version: string }
export interface Session { account: Account; expires_at: string; site?: Site; session?: string }

export interface Channel {
  id: string; device: string; name: string; kind: 'video' | 'audio'; online: boolean; ptz: boolean;
  stream: string; parent: string | null; longitude?: number | null; latitude?: number | null;
}
export interface Device {
  id: string; bridge: string; name: string; kind: 'camera' | 'nvr' | 'phone' | 'platform'; online: boolean;
  manufacturer?: string; model?: string; firmware?: string; version?: string; transport?: string; address?: string;
  registered_at?: string | null; expires_at?: string | null; last_seen_at?: string | null;
  offline_reason: Text | null; channels: Channel[];
  /** Of a device with more than 500 channels only the number is told; its tree is read by pages. */
  channel_count?: number; channels_online?: number; tree?: boolean;
}
export type NodeKind = 'region' | 'platform' | 'group' | 'organisation' | 'recorder' | 'camera' | 'other';
export interface TreeNode { id: string; channel: string; name: string; kind: NodeKind; online: boolean; ptz: boolean; video: boolean; children: number; cameras: number; cameras_online: number; path?: string[] }
export interface Alarm extends Text {
  id: string; at: string; last_at: string; count: number; device_at: string | null; device: string; channel: string | null; source: string; name: string; severity: number; kind: string;
  description: string; longitude: number | null; latitude: number | null; wants_reset: boolean; acknowledged_at: string | null; acknowledged_by: string | null; note: string | null; reset_at: string | null; reset_by: string | null;
}
export interface Position { at: string; device_at: string | null; longitude: number; latitude: number; speed_kmh: number | null; direction: number | null; altitude_m: number | null; height_m: number | null }
export interface Track { subject: string; last: Position | null; items: Position[]; cut: boolean }

export type StreamState = 'idle' | 'starting' | 'live' | 'stalled' | 'failed';
export interface StreamTrack { id: string; codec: string; width?: number; height?: number; clock_rate?: number }
export interface Stream {
  id: string; name: string; state: StreamState; viewers: number; tracks: StreamTrack[];
  bit_rate_bps: number; frame_rate: number; key_interval_s: number; since: string | null; fault: Fault | null;
}

export const TRACE_STEPS = ['wanted', 'invited', 'answered', 'connected', 'first_packet', 'ssrc', 'source_address', 'demuxed',
  'parameter_sets', 'first_key_frame', 'live', 'viewer_connected', 'viewer_decoded'] as const;
export type TraceStepName = (typeof TRACE_STEPS)[number];
export interface TraceStep extends Text { step: TraceStepName; at: string | null; elapsed_ms: number | null; outcome: 'ok' | 'waiting' | 'failed'; detail?: unknown }
export interface Trace { stream: string; state: StreamState; session: string | null; steps: TraceStep[]; fault: Fault | null }

/** A capture of signalling and media, for diagnosis. */
export interface Capture {
  id: string; stream: string; running: boolean; started_at: string; until: string; bytes: number; messages: number; packets: number; dropped: number;
  ended: string;
}

export type Layout = 1 | 4 | 9;
export interface WallTile { n: number; program: string; source: string | null; source_name: string | null; live: string | null; since: string | null;
  quality?: Quality; stream?: string | null; has_sub?: boolean }
export type Quality = 'auto' | 'main' | 'sub';
export interface Wall { id: string; name: string; layout: Layout; tiles: WallTile[]; by: string | null; can_undo: boolean }

export type MemberState = 'calling' | 'ringing' | 'connected' | 'held' | 'leaving' | 'returning';
/** The picture of a SIP terminal with video. */
export interface MemberPicture { state: 'none' | 'waiting' | 'live' | 'muted' | 'frozen'; sees: string | null; fault: Fault | null }
export type Link = 'lan' | 'cellular' | 'vsat' | 'tiantong' | 'radio';
export interface Member {
  id: string; kind: 'browser' | 'phone' | 'channel' | 'patch'; name: string; state: MemberState; muted: boolean; muted_by: 'member' | 'operator' | null; volume_db: number;
  talking: boolean; level_dbov: number; stream: string | null; has_video: boolean; codec: string | null; link: Link;
  joined_at: string | null; fault: Fault | null; loss_percent: number; jitter_ms: number;
  /** Of a camera: its loudspeaker, when it is switched on. */
  loudspeaker?: Loudspeaker | null;
  picture?: MemberPicture | null;
  role: MemberRole; hand_at: string | null;
  /** It came by a guest's link. */
  guest?: boolean;
  /** The side room that it is in, and the member who alone hears it. */
  side_room: string | null; whispers_to: string | null;
}
export type BroadcastTargetState = 'waiting' | 'calling' | 'ringing' | 'speaking' | 'said' | 'partly' | 'no_answer' | 'failed' | 'stopped' | 'interrupted';
export interface BroadcastTarget extends Text { n: number; to: string; name: string; state: BroadcastTargetState; tries: number; heard: number; position: number; code: string | null; next_zh: string; next_en: string; changed_at: string }
export type BroadcastSource = { kind: 'text'; text: string; language?: string | null; words_per_minute?: number | null } | { kind: 'sound'; sound: string } | { kind: 'live' };
export interface BroadcastName { to: string; name: string }
export interface BroadcastOrder { name: string; source: BroadcastSource; targets: BroadcastName[]; rounds: number; pause: number; chime: boolean; retries?: number }
/** One emergency broadcast. `seconds` is the length of one round; `targets` is left out in lists. */
export interface Broadcast {
  id: string; name: string; by: string; stopped_by: string | null; state: 'running' | 'done' | 'stopped' | 'interrupted'; source: BroadcastSource; rounds: number; pause: number; chime: boolean; seconds: number;
  started_at: string; ended_at: string | null; microphone: boolean; counts: Partial<Record<BroadcastTargetState, number>>; targets?: BroadcastTarget[];
}
export interface BroadcastList { id: string; name: string; targets: BroadcastName[] }
export interface BroadcastSound { id: string; name: string; seconds: number; by: string; at: string }
export type MemberRole = 'chair' | 'speaker' | 'listener';
/** Two conferences that are joined. */
export interface Patch { id: string; a: string; b: string; a_to_b: boolean; b_to_a: boolean; until: string | null }
export type VoiceState = 'waiting' | 'calling' | 'on_air' | 'failed' | 'ended';
export type SpeakerWish = 'device' | 'half' | 'full';
export interface Loudspeaker { state: VoiceState; duplex: SpeakerWish; half_duplex: boolean; fault: Fault | null; level_dbov: number; sent_packets: number; way: string }
export interface TalkTarget { channel: string; name: string; state: VoiceState; fault: Fault | null; level_dbov: number; sent_packets: number; way: string; half_duplex: boolean; on_air_at: string | null }
export interface Talk { id: string; by: string; started_at: string; microphone: boolean; targets: TalkTarget[] }
export interface Conference {
  id: string; number: string | null; name: string; locked: boolean; pin_set: boolean;
  /** Who waits before he is let in, and those who do. */
  lobby: 'off' | 'guests' | 'all'; waiting: Waiter[];
  picture: { program: string; source: string | null; live: string | null }; mix: string;
  /** Picture and mix as one stream: to watch, and to record. */
  stream: string; members: Member[];
  recording: string | null; started_at: string | null;
  /** One talks at a time: who. None: all may talk at once. */
  floor: Floor | null;
}
/** One in the lobby. `from`: the number of a phone, or the name of a guest's link. */
export interface Waiter { id: string; kind: 'phone' | 'browser'; name: string; from: string; link: Link; since: string }
/** A link by which guests come without an account. */
export interface GuestLink { id: string; conference: string; name: string; role: 'speaker' | 'listener'; camera: boolean; created_by: string; created_at: string; expires_at: string; uses: number; used: number; withdrawn: boolean; guests: number }
/** The path holds the token; it is told this once. */
export interface MadeLink { link: GuestLink; path: string; url: string | null }
/** A member of a template: a number, or the channel of a camera or radio group. */
export interface TemplateMember { number: string; name: string; role?: MemberRole }
export interface TemplateSettings {
  name: string; number: string | null; pin: string | null; half_duplex: boolean; lobby: Conference['lobby']; record: boolean;
  mode: 'all' | 'in_order'; retries: number; ring_time: number; pause: number; members: TemplateMember[];
}
export interface Template extends TemplateSettings { id: string; pin_set: boolean; run: CallRun | null }
/** A conference at a time, on the clock of the hall. */
export interface ScheduleSettings { name: string; template: string | null; at: string; minutes: number; repeat: 'none' | 'daily' | 'weekly'; open_before: number }
export interface Scheduled extends ScheduleSettings { id: string; next_at: string | null; conference: string | null; zone: string }
export interface Floor {
  taken: { member: string; name: string; number: string; link: Link; priority: number; emergency: boolean; since: string; stopped: boolean } | null;
  /** Members who wait, the next one first. */
  queue: string[];
}
/** What the own member is told. Causes are numbers of 3GPP TS 24.380. */
export type FloorNotice = { is: 'granted'; left_seconds: number } | { is: 'denied' | 'revoked'; cause: number } | { is: 'queued'; place: number; of: number } | { is: 'cut' };

export interface Recording {
  id: string; stream: string; name: string; from: string; to: string | null; duration_s: number; bytes: number;
  has_video: boolean; has_audio: boolean; state: 'recording' | 'whole' | 'repaired' | 'damaged'; cause: 'hand' | 'plan' | 'device'; frames: number;
}
export interface Job { id: string; stream: string; name: string; cause: 'hand' | 'plan'; since: string; bytes: number; state: 'waiting' | 'recording' | 'failed'; fault: Fault | null }
/** What a device itself has recorded. */
export interface DeviceRecording { from: string; to: string; kind: string; bytes: number | null; name: string }
export interface DeviceRecordings { channel: string; items: DeviceRecording[]; complete: boolean; asked_at: string }
export interface Playback {
  id: string; channel: string; stream: string; owner: string; from: string; to: string;
  phase: 'starting' | 'playing' | 'paused' | 'ended' | 'failed'; position: string; at: string; speed: number; fault: Fault | null;
}
export interface Fetch {
  id: string; channel: string; name: string; from: string; to: string; speed: number; state: 'queued' | 'running' | 'waiting' | 'storing' | 'done' | 'failed';
  done_s: number; total_s: number; bytes: number; announced_bytes: number | null; breaks: number; fault: Fault | null; by: string; since: string;
}
export interface PlanWindow { days: number[]; from: string; to: string }
export interface Plan { id: string; stream: string; name: string; enabled: boolean; always: boolean; windows: PlanWindow[]; keep_days: number }
export interface Leg { id: string; stream: string; state: 'connecting' | 'connected' | 'closed'; sent_packets: number; sent_bytes: number; lost_packets: number; nacks: number; plis: number; estimate_bps: number; reduced: boolean }
export interface CallLeg { number: string; codec: string; packets: number; lost: number; sent: number; jitter_ms: number; mos: number | null; turned?: string | null; recorded?: number | null }
interface CallEnds { id: string; direction: 'in' | 'out' | 'between'; caller: string; caller_name: string; callee: string; callee_name: string; dialled: string; began_at: string; rang_at: string | null; answered_at: string | null; legs: CallLeg[] }
export interface LiveCall extends CallEnds { state: 'calling' | 'ringing' | 'talking' | 'held' }
export interface Call extends CallEnds, Text { ended_at: string; ended_by: 'caller' | 'callee' | 'gateway' | 'network'; code: string; missed: boolean; queue?: string | null; waited_ms?: number | null }
export interface Forwards { busy: string | null; no_answer: string | null; offline: string | null }
/** One place where a phone account is registered. */
export interface PhoneContact { contact: string; transport: string; address: string; expires_at: string; user_agent: string | null; path?: string[]; reachable?: boolean | null }
export interface Phone { user: string; name: string; registered: boolean; contact: string | null; expires_at: string | null; forwards?: Forwards; contacts?: PhoneContact[] }
/** One who can be called. */
export interface DirectoryEntry {
  kind: 'phone' | 'conference' | 'queue' | 'list'; number: string; name: string; online: boolean; state: 'idle' | LiveCall['state']; call: string | null; with: string | null;
  forwards: Forwards | null; conference: string | null; list: string | null; members: number; waiting: number;
}
/** To register as the own number; good while this sign-in lives. */
export interface PhoneTicket { phone: string; name: string; user: string; password: string; realm: string }

export interface TrunkServer { address: string; transport: string; state: 'up' | 'down' | 'unknown'; rtt_ms: number | null }
/** A line to the outside. `zh` and `en` say its state. */
export interface Trunk extends Text {
  name: string; state: 'up' | 'down' | 'connecting'; registering: boolean; registered: boolean; since: string; server: string | null; rtt_ms: number | null;
  calls_in: number; calls_out: number; max_calls: number; max_calls_in: number; max_calls_out: number; last_error: ({ at: string } & Text) | null; servers: TrunkServer[];
}
/** Who is kept out of the SIP room for a while. */
export interface Ban { address: string | null; account: string | null; reason: 'wrong_password' | 'unknown_account' | 'unknown_number' | 'malformed' | 'scanner' | 'fraud'; times: number; since: string; until: string | null; dropped: number }
export interface PickupGroup { name: string; members: string[] }
export type QueueOrder = 'all' | 'turn' | 'idle';
export interface QueueSettings { name: string; members: string[]; order: QueueOrder; most_waiting: number; longest_wait: number; overflow: string | null; ring_time: number; wrap_up: number; announce_every: number }
export type AgentState = 'idle' | 'ringing' | 'busy' | 'wrap_up' | 'offline' | 'signed_out';
export interface Queue extends QueueSettings {
  number: string; waiting: { call: string; caller: string; caller_name: string; since: string; position: number }[]; agents: { phone: string; name: string; state: AgentState }[];
}
export type ListEntryState = 'waiting' | 'calling' | 'ringing' | 'answered' | 'left' | 'failed' | 'stopped';
export interface CallRun {
  state: 'running' | 'done' | 'stopped'; conference: string; started_at: string; started_by: string; revision: number;
  entries: ({ number: string; name: string; state: ListEntryState; tries: number; code: string | null } & Text)[];
}
export interface CallListSettings { name: string; mode: 'all' | 'in_order'; conference: string | null; retries: number; ring_time: number; pause: number; entries: { number: string; name: string }[] }
export interface CallList extends CallListSettings { id: string; run: CallRun | null }
export interface AuditEntry { at: string; account: string; address: string; verb: string; object: string; detail: unknown; outcome: string }
export interface SystemState {
  version: string; started_at: string; uptime_s: number; cpu_percent: number; memory_bytes: number; disk_free_bytes: number; disk_total_bytes: number;
  devices_online: number; devices_total: number; streams_live: number; viewers: number; calls: number; recordings_running: number;
}
export interface Notice extends Text { severity: 'info' | 'warning' | 'alarm'; object: string | null; at: string }
/** A single picture of a channel. */
export interface Picture {
  id: string; channel: string; device: string; taken_at: string; received_at: string; session: string; source: 'device' | 'stream';
  ordered_by: string; name: string; bytes: number; width: number; height: number;
}
/** A text or file of a conference or a far end, with what became of it. */
export interface Delivery { to: string; name: string; state: 'sent' | 'delivered' | 'failed'; at: string; leaves_at: string | null; fault: Fault | null }
export interface Message {
  id: string; at: string; device_at: string | null; thread: string; thread_name: string; sender: string; name: string; link: string; text: string;
  file: { name: string; type: string; bytes: number } | null; deliveries: Delivery[];
}
export interface Thread { thread: string; name: string; count: number; last: Message }
/** An order for pictures. */
export interface Snapshot {
  id: string; channel: string; state: 'ordered' | 'done' | 'partial' | 'failed'; source: 'device' | 'stream'; count: number;
  pictures: Picture[]; note: Text | null; fault: Fault | null; by: string; at: string;
}
export interface Items<T> { items: T[] }
export interface Page<T> { total: number; items: T[] }

interface Stamp { at: string; seq: number }
export type Levels = Record<string, [number, boolean]>;
export type ServerEvent =
  | { type: 'hello'; now: string; version: string; seq?: number }
  | { type: 'lagged' }
  | (Stamp & (
    | { type: 'device'; device: Device }
    | { type: 'device_removed'; id: string }
    | { type: 'alarm'; alarm: Alarm }
    | { type: 'positions'; items: (Position & { channel: string })[]; more: number }
    | { type: 'wish'; device: string; channel: string | null; name: string }
    | { type: 'look'; channel: string; pan: number | null; tilt: number | null; zoom: number | null }
    | { type: 'lease'; channel: string; holder: Holder | null }
    | { type: 'stream'; stream: Stream }
    | { type: 'wall'; wall: Wall }
    | { type: 'conference'; conference: Conference }
    | { type: 'conference_ended'; id: string }
    | { type: 'member'; conference: string; member: Member }
    | { type: 'member_left'; conference: string; member: string; reason: Text }
    | { type: 'member_moved'; member: string; from: string; from_name: string; to: string }
    | { type: 'patches'; patches: Patch[] }
    | { type: 'broadcast'; broadcast: Broadcast; targets: BroadcastTarget[] }
    | { type: 'schedules'; items: Scheduled[] }
    | { type: 'lobby'; conference: string; waiting: Waiter[] }
    | { type: 'floor'; conference: string; floor: Floor }
    | { type: 'floor_notice'; conference: string; member: string; notice: FloorNotice }
    | { type: 'levels'; conference: string; levels: Levels }
    | { type: 'talk'; talk: Talk }
    | { type: 'talk_ended'; id: string; talk: Talk }
    | { type: 'talk_levels'; levels: Record<string, [number, number]> }
    | { type: 'message'; message: Message }
    | { type: 'message_removed'; id: string; thread: string }
    | { type: 'picture'; picture: Picture }
    | { type: 'picture_removed'; id: string; channel: string }
    | { type: 'snapshot'; snapshot: Snapshot }
    | { type: 'recording'; recording: Recording }
    | { type: 'device_playback'; playback: Playback }
    | { type: 'device_playback_ended'; id: string }
    | { type: 'device_fetch'; fetch: Fetch }
    | { type: 'device_fetch_removed'; id: string }
    | { type: 'job'; job: Job }
    | { type: 'job_ended'; id: string }
    | ({ type: 'notice'; severity: Notice['severity']; object: string | null } & Text)
    | { type: 'calls'; live: number }
    | { type: 'call'; call: Call }
    | { type: 'trunk'; trunk: Trunk }
    | { type: 'queues'; items: Queue[] }
    | { type: 'call_list'; list: string; run: CallRun }
    | { type: 'system'; system: SystemState }
  ));
