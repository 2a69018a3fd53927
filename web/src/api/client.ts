// The typed client. One function a call; paths only here.
import type {
  Alarm, Ban, Call, CallList, CallListSettings, CallRun, Channel, DirectoryEntry, Forwards, LiveCall, PhoneTicket, PickupGroup, Queue, QueueSettings, Track, Trunk, TreeNode,
  Notice,
  Account, ApiErrorBody, AuditEntry, Broadcast, BroadcastList, BroadcastName, BroadcastOrder, BroadcastSound, BroadcastSource, Capture, Conference, Device, DeviceRecordings, Fetch, GuestLink, Items,
  Job, Layout, Leg, MadeLink, Member, MemberRole, Message, Page, Patch, Phone, Picture, Plan, Playback, Quality, Recording, Role, ScheduleSettings, Scheduled, Session, Snapshot, SpeakerWish, Stream,
  SystemState, Talk, Template, TemplateSettings, Thread, Trace, Wall, Whose,
} from './types';

import type { Answers, Lease, Order, Outcome, Query, Target } from './control';

export const BASE = '/api/v1';

/** What went wrong, in both languages: from the gateway, or our own words when the gateway did not speak. */
export class ApiError extends Error {
  readonly status: number; readonly code: string; readonly whose: Whose; readonly retry: boolean;
  readonly zh: string; readonly en: string; readonly retryAfterS: number | null;
  /** What stood beside `error` in the answer. */
  readonly more: Record<string, unknown>;
  constructor(status: number, body: ApiErrorBody, retryAfterS: number | null = null, more: Record<string, unknown> = {}) {
    super(`${body.code}: ${body.en}`);
    this.status = status; this.code = body.code; this.whose = body.whose; this.retry = body.retry;
    this.zh = body.zh; this.en = body.en; this.retryAfterS = retryAfterS;
    this.more = more;
  }
}

export function unreachable(): ApiError {
  return new ApiError(0, {
    code: 'unreachable', whose: 'us', retry: true,
    zh: '连不上网关。请检查本机网络；网关恢复后会自动重连。',
    en: 'The gateway cannot be reached. Check this computer’s network; the console reconnects by itself.',
  });
}

/** Any thrown thing as an ApiError, so that every place can say it in words. */
export function asApiError(e: unknown): ApiError {
  if (e instanceof ApiError) return e;
  if (e instanceof TypeError || (e instanceof DOMException && (e.name === 'AbortError' || e.name === 'TimeoutError'))) return unreachable();
  const text = e instanceof Error ? e.message : String(e);
  return new ApiError(0, { code: 'console', whose: 'us', retry: false, zh: `控制台出错：${text}`, en: `The console failed: ${text}` });
}

let onUnauthorised: () => void = () => {};
export function setUnauthorised(f: () => void) { onUnauthorised = f; }

interface Ask { method?: string; json?: unknown; sdp?: string; file?: Blob; signal?: AbortSignal; timeoutMs?: number; quiet401?: boolean; keepalive?: boolean }

export async function ask(path: string, a: Ask = {}): Promise<Response> {
  const headers: Record<string, string> = {};
  let body: string | Blob | undefined;
  if (a.json !== undefined) { headers['Content-Type'] = 'application/json'; body = JSON.stringify(a.json); }
  if (a.sdp !== undefined) { headers['Content-Type'] = 'application/sdp'; headers['Accept'] = 'application/sdp'; body = a.sdp; }
  if (a.file !== undefined) { headers['Content-Type'] = 'application/octet-stream'; body = a.file; }
  const limit = AbortSignal.timeout(a.timeoutMs ?? 10_000);
  const signal = a.signal ? AbortSignal.any([a.signal, limit]) : limit;
  let r: Response;
  try {
    r = await fetch(path.startsWith('/') ? path : `${BASE}/${path}`, { method: a.method ?? 'GET', headers, body, signal, credentials: 'same-origin', keepalive: a.keepalive });
  } catch (e) {
    if (a.signal?.aborted) throw e;
    throw unreachable();
  }
  if (r.ok) return r;
  if (r.status === 401 && !a.quiet401) onUnauthorised();
  throw await errorOf(r);
}

async function errorOf(r: Response): Promise<ApiError> {
  const after = Number(r.headers.get('Retry-After'));
  const retryAfterS = Number.isFinite(after) && after > 0 ? after : null;
  try {
    const b = (await r.json()) as { error?: ApiErrorBody };
    if (b.error && typeof b.error.code === 'string') return new ApiError(r.status, b.error, retryAfterS, b as Record<string, unknown>);
  } catch { /* not JSON: a proxy or a half-started gateway */ }
  const retry = r.status >= 500;
  return new ApiError(r.status, {
    code: `http_${r.status}`, whose: r.status >= 500 ? 'us' : 'you', retry,
    zh: `网关答复 ${r.status}，没有说明原因。`, en: `The gateway answered ${r.status} without a reason.`,
  }, retryAfterS);
}

async function json<T>(path: string, a: Ask = {}): Promise<T> { return (await (await ask(path, a)).json()) as T; }
/** For calls whose answer may be empty: the body when there is one. */
async function maybe<T>(path: string, a: Ask = {}): Promise<T | null> {
  const r = await ask(path, a);
  if (r.status === 204) return null;
  const text = await r.text();
  try { return text ? (JSON.parse(text) as T) : null; } catch { return null; }
}
const none = async (path: string, a: Ask = {}): Promise<void> => { await ask(path, a); };

/** A path segment. Ids hold ':' and '/', so '/' always goes as %2F. */
export const seg = (id: string) => encodeURIComponent(id).replaceAll('%3A', ':');
export function query(q: Record<string, string | number | undefined | null>): string {
  const p = new URLSearchParams();
  for (const [k, v] of Object.entries(q)) if (v !== undefined && v !== null && v !== '') p.set(k, String(v));
  const s = p.toString();
  return s ? `?${s}` : '';
}

export interface SdpAnswer { answer: string; location: string; leg: string; member: string | null }
export async function offer(path: string, sdp: string, signal?: AbortSignal): Promise<SdpAnswer> {
  const r = await ask(path, { method: 'POST', sdp, signal, timeoutMs: 8_000 });
  const location = r.headers.get('Location') ?? '';
  return { answer: await r.text(), location, leg: decodeURIComponent(location.split('?')[0]!.split('/').pop() ?? ''), member: r.headers.get('Skybridge-Member') };
}

/** A large device comes without its channels. */
export const whole = (d: Device): Device => (Array.isArray(d.channels) ? d : { ...d, channels: [] });
const object = (to: Target) => ('channel' in to ? `channels/${seg(to.channel)}` : `devices/${seg(to.device)}`);

export const api = {
  signIn: (name: string, password: string) => json<Session & { token: string }>('session', { method: 'POST', json: { name, password }, quiet401: true }),
  session: () => json<Session>('session', { quiet401: true }),
  signOut: () => none('session', { method: 'DELETE', quiet401: true }),
  changePassword: (old: string, next: string) => none('session/password', { method: 'POST', json: { old, new: next }, quiet401: true }),

  devices: (q: { query?: string; offset?: number; limit?: number }, signal?: AbortSignal) => json<Page<Device>>(`devices${query(q)}`, { signal }).then((p) => ({ ...p, items: p.items.map(whole) })),
  device: (id: string) => json<Device>(`devices/${seg(id)}`).then(whole),
  tree: (id: string, q: { parent?: string; query?: string; offset?: number; limit?: number }) => json<Page<TreeNode>>(`devices/${seg(id)}/tree${query(q)}`),
  channel: (id: string) => json<{ channel: Channel; device: Device }>(`channels/${seg(id)}`).then((x) => ({ ...x, device: whole(x.device) })),
  track: (channel: string, q: { from?: string; to?: string; limit?: number }) => json<Track>(`channels/${seg(channel)}/track${query(q)}`),
  alarms: (q: { from?: string; to?: string; device?: string; severity?: number; kind?: string; open?: string; offset?: number; limit?: number }) => json<Page<Alarm> & { open: number }>(`alarms${query(q)}`),
  alarmSums: () => json<{ open: number; gravest: number }>('alarms/open'),
  acknowledgeAlarm: (id: string, note: string) => json<Alarm>(`alarms/${seg(id)}/acknowledge`, { method: 'POST', json: { note } }),
  resetAlarm: (id: string) => json<Alarm>(`alarms/${seg(id)}/reset`, { method: 'POST', timeoutMs: 16_000 }),
  refreshDevice: (id: string) => none(`devices/${seg(id)}/refresh`, { method: 'POST' }),
  forgetDevice: (id: string) => none(`devices/${seg(id)}`, { method: 'DELETE' }),
  devicePassword: (id: string, password: string | null) => none(`devices/${seg(id)}/password`, { method: 'PUT', json: { password } }),
  ptz: (channel: string, pan: number, tilt: number, zoom: number, keepalive = false) =>
    none(`channels/${seg(channel)}/ptz`, { method: 'POST', json: { pan, tilt, zoom }, timeoutMs: 3_000, keepalive }),
  order: (to: Target, body: { order: Order; confirm?: string }) => json<{ outcome: Outcome }>(`${object(to)}/orders`, { method: 'POST', json: body, ...(body.order.do === 'lens' ? { timeoutMs: 3_000, keepalive: true } : { timeoutMs: 65_000 }) }),
  answer: <K extends keyof Answers>(to: Target, q: Extract<Query, { ask: K }> | (Query & { ask: K })) => json<Answers[K]>(`${object(to)}/queries`, { method: 'POST', json: q, timeoutMs: 65_000 }),
  facts: (device: string) => json<Items<{ key: string; value: string }>>(`devices/${seg(device)}/facts`),
  leases: () => json<Items<Lease>>('leases'),
  giveBack: (channel: string, keepalive = false) => none(`channels/${seg(channel)}/lease`, { method: 'DELETE', keepalive }),
  keyFrame: (channel: string) => none(`channels/${seg(channel)}/key-frame`, { method: 'POST' }),

  takePicture: (channel: string, q: { count?: number; interval_s?: number; source?: 'auto' | 'device' | 'stream' } = {}) =>
    json<Snapshot>(`channels/${seg(channel)}/pictures`, { method: 'POST', json: q }),
  snapshot: (id: string) => json<Snapshot>(`snapshots/${seg(id)}`),
  pictures: (q: { channel?: string; device?: string; session?: string; from?: string; to?: string; offset?: number; limit?: number }) => json<Page<Picture>>(`pictures${query(q)}`),
  deletePicture: (id: string) => none(`pictures/${seg(id)}`, { method: 'DELETE' }),
  pictureUrl: (id: string, how: 'thumb' | 'download' | null = null) => `${BASE}/pictures/${seg(id)}/image.jpg${how ? `?${how}=1` : ''}`,

  threads: () => json<Items<Thread>>('messages/threads'),
  messages: (q: { thread?: string; before?: string; limit?: number }) => json<Page<Message>>(`messages${query(q)}`),
  sendMessage: (thread: string, text: string) => json<Message>('messages', { method: 'POST', json: { thread, text } }),
  sendFile: (thread: string, file: File, text: string) => json<Message>(`messages/files${query({ thread, name: file.name, text })}`, { method: 'POST', file, timeoutMs: 300_000 }),
  sendStill: (thread: string, stream: string) => json<Message>('messages/stills', { method: 'POST', json: { thread, stream }, timeoutMs: 20_000 }),
  messageFileUrl: (id: string) => `${BASE}/messages/${seg(id)}/file`,

  streams: () => json<Items<Stream>>('streams'),
  stream: (id: string) => json<Stream>(`streams/${seg(id)}`),
  trace: (id: string, signal?: AbortSignal) => json<Trace>(`streams/${seg(id)}/trace`, { signal }),

  captures: () => json<Items<Capture>>('captures'),
  capture: (id: string, signal?: AbortSignal) => json<Capture>(`captures/${seg(id)}`, { signal }),
  startCapture: (stream: string, seconds?: number) => json<Capture>(`streams/${seg(stream)}/capture`, { method: 'POST', json: seconds ? { seconds } : {} }),
  stopCapture: (id: string) => none(`captures/${seg(id)}/stop`, { method: 'POST' }),
  captureUrl: (id: string) => `${BASE}/captures/${seg(id)}/file.pcapng`,

  whep: (stream: string, sdp: string, audio: boolean, signal?: AbortSignal) => offer(`whep/${seg(stream)}${audio ? '' : '?audio=0'}`, sdp, signal),
  whip: (conference: string, name: string, sdp: string, signal?: AbortSignal) => offer(`whip/${seg(conference)}${query({ name })}`, sdp, signal),
  leg: (leg: string) => json<Leg>(`legs/${seg(leg)}`),
  endLeg: (leg: string, keepalive = false) => none(`legs/${seg(leg)}`, { method: 'DELETE', keepalive, quiet401: true }),
  report: (leg: string, r: Record<string, number | string | null>) => none(`legs/${seg(leg)}/report`, { method: 'POST', json: r }),

  walls: () => json<Items<Wall>>('walls'),
  wall: (id: string) => json<Wall>(`walls/${seg(id)}`),
  putWall: (id: string, layout: Layout, tiles: (string | null)[]) => maybe<Wall>(`walls/${seg(id)}`, { method: 'PUT', json: { layout, tiles } }),
  putTile: (id: string, n: number, source: string | null, quality?: Quality) => maybe<Wall>(`walls/${seg(id)}/tiles/${n}`, { method: 'PUT', json: quality ? { source, quality } : { source } }),
  undoWall: (id: string) => maybe<Wall>(`walls/${seg(id)}/undo`, { method: 'POST' }),

  conferences: () => json<Items<Conference>>('conferences'),
  conference: (id: string) => json<Conference>(`conferences/${seg(id)}`),
  newConference: (c: { name: string; number?: string; pin?: string }) => json<Conference>('conferences', { method: 'POST', json: c }),
  patchConference: (id: string, c: { name?: string; pin?: string | null; locked?: boolean; half_duplex?: boolean; lobby?: Conference['lobby'] }) => maybe<Conference>(`conferences/${seg(id)}`, { method: 'PATCH', json: c }),
  endConference: (id: string) => none(`conferences/${seg(id)}`, { method: 'DELETE' }),
  floor: (id: string, member: string, o: { do: 'press' | 'release'; emergency?: boolean }) => none(`conferences/${seg(id)}/members/${seg(member)}/floor`, { method: 'POST', json: o }),
  revokeFloor: (id: string) => none(`conferences/${seg(id)}/floor`, { method: 'DELETE' }),
  conferencePicture: (id: string, source: string | null) => maybe<Conference>(`conferences/${seg(id)}/picture`, { method: 'PUT', json: { source } }),
  addMember: (id: string, m: { channel: string } | { dial: string }) => json<Member>(`conferences/${seg(id)}/members`, { method: 'POST', json: m }),
  patchMember: (id: string, m: string, p: { muted?: boolean; volume_db?: number; name?: string; loudspeaker?: boolean; duplex?: SpeakerWish; role?: MemberRole }) => maybe<Member>(`conferences/${seg(id)}/members/${seg(m)}`, { method: 'PATCH', json: p }),
  lobby: (id: string, admit: boolean, who?: string[]) => json<{ changed: number }>(`conferences/${seg(id)}/lobby`, { method: 'POST', json: { admit, who } }),
  guestLinks: (id: string) => json<Items<GuestLink>>(`conferences/${seg(id)}/links`),
  makeGuestLink: (id: string, l: { name: string; role: 'speaker' | 'listener'; camera: boolean; minutes: number; uses: number }) => json<MadeLink>(`conferences/${seg(id)}/links`, { method: 'POST', json: l }),
  withdrawGuestLink: (id: string, link: string) => none(`conferences/${seg(id)}/links/${seg(link)}`, { method: 'DELETE' }),
  templates: () => json<Items<Template>>('templates'),
  addTemplate: (x: TemplateSettings) => json<Template>('templates', { method: 'POST', json: x }),
  putTemplate: (id: string, x: TemplateSettings) => json<Template>(`templates/${seg(id)}`, { method: 'PUT', json: x }),
  deleteTemplate: (id: string) => none(`templates/${seg(id)}`, { method: 'DELETE' }),
  startTemplate: (id: string) => json<CallRun>(`templates/${seg(id)}/start`, { method: 'POST' }),
  callAgain: (id: string, members?: number[]) => json<CallRun>(`templates/${seg(id)}/again`, { method: 'POST', json: { members } }),
  stopTemplate: (id: string) => none(`templates/${seg(id)}/stop`, { method: 'POST' }),
  keepAsTemplate: (conference: string, name: string) => json<Template>(`conferences/${seg(conference)}/template`, { method: 'POST', json: { name } }),
  schedules: () => json<Items<Scheduled>>('schedules'),
  addSchedule: (s: ScheduleSettings) => json<Scheduled>('schedules', { method: 'POST', json: s }),
  putSchedule: (id: string, s: ScheduleSettings) => json<Scheduled>(`schedules/${seg(id)}`, { method: 'PUT', json: s }),
  deleteSchedule: (id: string) => none(`schedules/${seg(id)}`, { method: 'DELETE' }),
  muteAll: (id: string, muted: boolean, spare: readonly string[] = []) => none(`conferences/${seg(id)}/mute`, { method: 'POST', json: { muted, spare } }),
  hand: (id: string, m: string, raised: boolean) => json<Member>(`conferences/${seg(id)}/members/${seg(m)}/hand`, { method: 'PUT', json: { raised } }),
  side: (id: string, m: string, side: { room?: string; whisper?: string }) => json<Member>(`conferences/${seg(id)}/members/${seg(m)}/side`, { method: 'PUT', json: side }),
  moveMember: (id: string, m: string, to: string) => json<Member>(`conferences/${seg(id)}/members/${seg(m)}/move`, { method: 'POST', json: { to } }),
  patches: () => json<Items<Patch>>('patches'),
  newPatch: (p: { a: string; b: string; minutes?: number }) => json<Patch>('patches', { method: 'POST', json: p }),
  changePatch: (id: string, p: { a_to_b?: boolean; b_to_a?: boolean; minutes?: number }) => json<Patch>(`patches/${seg(id)}`, { method: 'PATCH', json: p }),
  removePatch: (id: string) => none(`patches/${seg(id)}`, { method: 'DELETE' }),
  removeMember: (id: string, m: string) => none(`conferences/${seg(id)}/members/${seg(m)}`, { method: 'DELETE' }),

  broadcasts: () => json<Items<Broadcast>>('broadcasts'),
  broadcast: (id: string) => json<Broadcast>(`broadcasts/${seg(id)}`),
  /** Given twice: the first answer is a token, behind which the operator was asked already. A long text takes the engine a while. */
  startBroadcast: async (order: BroadcastOrder): Promise<Broadcast> => {
    const give = (confirm?: string) => json<Broadcast>('broadcasts', { method: 'POST', json: { order, ...(confirm ? { confirm } : {}) }, timeoutMs: 45_000 });
    try { return await give(); } catch (e) {
      const token = e instanceof ApiError && e.code === 'confirmation_required' ? (e.more.confirm as { token?: string } | undefined)?.token : undefined;
      if (!token) throw e;
      return give(token);
    }
  },
  stopBroadcast: (id: string) => none(`broadcasts/${seg(id)}/stop`, { method: 'POST' }),
  broadcastWhip: (id: string, sdp: string) => offer(`broadcasts/${seg(id)}/whip`, sdp),
  previewBroadcast: async (source: BroadcastSource, chime: boolean) => (await ask('broadcasts/preview', { method: 'POST', json: { source, chime }, timeoutMs: 45_000 })).blob(),
  broadcastLists: () => json<Items<BroadcastList>>('broadcast-lists'),
  addBroadcastList: (l: { name: string; targets: BroadcastName[] }) => json<BroadcastList>('broadcast-lists', { method: 'POST', json: l }),
  deleteBroadcastList: (id: string) => none(`broadcast-lists/${seg(id)}`, { method: 'DELETE' }),
  broadcastSounds: () => json<Items<BroadcastSound>>('broadcast-sounds'),
  addBroadcastSound: (name: string, file: Blob) => json<BroadcastSound>(`broadcast-sounds${query({ name })}`, { method: 'POST', file, timeoutMs: 120_000 }),
  deleteBroadcastSound: (id: string) => none(`broadcast-sounds/${seg(id)}`, { method: 'DELETE' }),

  talks: () => json<Items<Talk>>('talks'),
  beginTalk: (channels: readonly string[]) => json<Talk>('talks', { method: 'POST', json: { channels } }),
  talkWhip: (id: string, sdp: string) => offer(`talks/${seg(id)}/whip`, sdp),
  endTalk: (id: string, keepalive = false) => none(`talks/${seg(id)}`, { method: 'DELETE', keepalive }),

  recordings: (q: { stream?: string; from?: string; to?: string; offset?: number; limit?: number }) => json<Page<Recording>>(`recordings${query(q)}`),
  recordingDays: (month: string, stream?: string) => json<{ days: string[] }>(`recordings/days${query({ stream, month })}`),
  recording: (id: string) => json<Recording>(`recordings/${seg(id)}`),
  deleteRecording: (id: string) => none(`recordings/${seg(id)}`, { method: 'DELETE' }),
  hlsUrl: (id: string) => `${BASE}/recordings/${seg(id)}/index.m3u8`,
  mp4Url: (id: string, download = false) => `${BASE}/recordings/${seg(id)}/media.mp4${download ? '?download=1' : ''}`,

  deviceRecordings: (channel: string, from: string, to: string, fresh: boolean) => json<DeviceRecordings>(`channels/${seg(channel)}/device-recordings${query({ from, to, fresh: fresh ? 1 : undefined })}`, { timeoutMs: 75_000 }),
  playDevice: (channel: string, at: string) => json<Playback>('device-playbacks', { method: 'POST', json: { channel, at }, timeoutMs: 75_000 }),
  controlPlayback: (id: string, c: { action: string; to?: string; speed?: number }) => json<Playback>(`device-playbacks/${seg(id)}/control`, { method: 'POST', json: c, timeoutMs: 30_000 }),
  endPlayback: (id: string, keepalive = false) => none(`device-playbacks/${seg(id)}`, { method: 'DELETE', keepalive, quiet401: true }),
  fetches: () => json<Items<Fetch>>('device-fetches'),
  fetchDevice: (channel: string, from: string, to: string) => json<Fetch>('device-fetches', { method: 'POST', json: { channel, from, to }, timeoutMs: 75_000 }),
  retryFetch: (id: string) => json<Fetch>(`device-fetches/${seg(id)}/retry`, { method: 'POST' }),
  forgetFetch: (id: string) => none(`device-fetches/${seg(id)}`, { method: 'DELETE' }),

  jobs: () => json<Items<Job>>('recording/jobs'),
  startJob: (stream: string) => json<Job>('recording/jobs', { method: 'POST', json: { stream } }),
  stopJob: (id: string) => none(`recording/jobs/${seg(id)}`, { method: 'DELETE' }),
  plans: () => json<Items<Plan>>('recording/plans'),
  addPlan: (p: Omit<Plan, 'id'>) => maybe<Plan>('recording/plans', { method: 'POST', json: p }),
  putPlan: (p: Plan) => maybe<Plan>(`recording/plans/${seg(p.id)}`, { method: 'PUT', json: p }),
  deletePlan: (id: string) => none(`recording/plans/${seg(id)}`, { method: 'DELETE' }),

  accounts: () => json<Items<Account>>('accounts'),
  addAccount: (a: { name: string; password: string; role: Role }) => none('accounts', { method: 'POST', json: a }),
  patchAccount: (name: string, p: { password?: string; role?: Role; priority?: number; phone?: string }) => none(`accounts/${seg(name)}`, { method: 'PATCH', json: p }),
  deleteAccount: (name: string) => none(`accounts/${seg(name)}`, { method: 'DELETE' }),
  phones: () => json<Items<Phone>>('phones'),
  addPhone: (p: { user: string; password: string; name: string }) => none('phones', { method: 'POST', json: p }),
  setForwards: (user: string, f: Forwards) => none(`phones/${seg(user)}/forwards`, { method: 'PUT', json: f }),
  deletePhone: (user: string) => none(`phones/${seg(user)}`, { method: 'DELETE' }),
  calls: (q: { from?: string; to?: string; number?: string; direction?: string; missed?: string; offset?: number; limit?: number }) => json<Page<Call>>(`calls${query(q)}`),
  liveCalls: () => json<Items<LiveCall>>('calls/live'),
  directory: (q: { query?: string; offset?: number; limit?: number }, signal?: AbortSignal) => json<Page<DirectoryEntry>>(`directory${query(q)}`, { signal }),
  ownPhone: () => json<{ phone: string | null; name: string }>('softphone'),
  phoneTicket: () => json<PhoneTicket>('softphone', { method: 'POST' }),
  insertCall: (id: string, p: { conference: string | null; dial: string | null }) => json<{ conference: string }>(`calls/${seg(id)}/insert`, { method: 'POST', json: p }),
  bans: () => json<Items<Ban>>('bans'),
  liftBan: (b: Pick<Ban, 'address' | 'account'>) => none(`bans${query({ address: b.address, account: b.account })}`, { method: 'DELETE' }),
  trunks: () => json<Items<Trunk>>('trunks'),
  pickupGroups: () => json<Items<PickupGroup>>('pickup-groups'),
  putPickupGroup: (name: string, members: readonly string[]) => none(`pickup-groups/${seg(name)}`, { method: 'PUT', json: { members } }),
  deletePickupGroup: (name: string) => none(`pickup-groups/${seg(name)}`, { method: 'DELETE' }),
  queues: () => json<Items<Queue>>('queues'),
  putQueue: (number: string, q: QueueSettings) => none(`queues/${seg(number)}`, { method: 'PUT', json: q }),
  deleteQueue: (number: string) => none(`queues/${seg(number)}`, { method: 'DELETE' }),
  signAgent: (number: string, phone: string, signed_in: boolean) => none(`queues/${seg(number)}/agents/${seg(phone)}`, { method: 'POST', json: { signed_in } }),
  callLists: () => json<Items<CallList>>('call-lists'),
  addCallList: (l: CallListSettings) => json<CallList>('call-lists', { method: 'POST', json: l }),
  putCallList: (id: string, l: CallListSettings) => json<CallList>(`call-lists/${seg(id)}`, { method: 'PUT', json: l }),
  deleteCallList: (id: string) => none(`call-lists/${seg(id)}`, { method: 'DELETE' }),
  startCallList: (id: string) => json<CallRun>(`call-lists/${seg(id)}/start`, { method: 'POST' }),
  stopCallList: (id: string) => none(`call-lists/${seg(id)}/stop`, { method: 'POST' }),
  hangUpCall: (id: string) => none(`calls/${seg(id)}/hangup`, { method: 'POST' }),
  audit: (q: { from?: string; to?: string; account?: string; offset?: number; limit?: number }) => json<Page<AuditEntry>>(`audit${query(q)}`),
  system: () => json<SystemState>('system'),
  notices: () => json<{ items: Notice[] }>('notices'),
};
