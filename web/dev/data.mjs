// Made-up things for the mock: shapes as in docs/ref/api.md.
const iso = (ms) => new Date(ms).toISOString();
export const now0 = Date.now();
const places = [['北门岗亭', 'North gate'], ['大坝左岸', 'Dam left bank'], ['大坝右岸', 'Dam right bank'], ['闸门 3', 'Sluice 3'], ['渡口', 'Ferry'], ['县医院急诊', 'County hospital'], ['高速出口', 'Motorway exit'], ['安置点一', 'Shelter one'], ['安置点二', 'Shelter two'], ['油库', 'Oil depot'], ['水文站', 'Gauge station'], ['山体监测点', 'Slope watch'], ['前指指挥车', 'Field command car'], ['无人机地面站', 'Drone ground station'], ['消防一中队', 'Fire brigade one'], ['桥头', 'Bridge head']];
const makers = [['Hikvision', 'DS-2CD3T46'], ['Dahua', 'IPC-HFW5442'], ['Uniview', 'IPC-B652'], ['Kedacom', 'IPC525']];
export const devices = [];
places.forEach(([zh], i) => {
  const n = `3402000000132000${String(i + 1).padStart(4, '0')}`;
  const id = `gb28181:${n}`;
  const [manufacturer, model] = makers[i % 4];
  const online = i !== 9;
  devices.push({ id, bridge: 'gb28181', name: zh, kind: 'camera', online, manufacturer, model, firmware: 'V5.7.3', version: i % 3 ? '2016' : '2022', transport: i % 3 ? 'udp' : 'tcp', address: `10.20.${i}.31:5060`, registered_at: iso(now0 - 7.2e6 - i * 6e5), expires_at: iso(now0 + 3.1e6), last_seen_at: iso(now0 - (online ? 12_000 : 2.4e6)), offline_reason: online ? null : { zh: '40 分钟没有心跳，注册已过期。请检查摄像机电源和网络。', en: 'No keep-alive for 40 minutes; its registration has expired. Check the camera’s power and network.' },
    channels: [{ id: `${id}/${n}`, device: id, name: zh, kind: 'video', online, ptz: i % 2 === 0, stream: `${id}/${n}`, parent: null, longitude: null, latitude: null }] });
});
{
  const n = '34020000001110000001', id = `gb28181:${n}`;
  devices.splice(3, 0, { id, bridge: 'gb28181', name: '水库综合录像机', kind: 'nvr', online: true, manufacturer: 'Hikvision', model: 'DS-8632N', firmware: 'V4.62', version: '2016', transport: 'tcp', address: '10.20.40.8:5060', registered_at: iso(now0 - 9e7), expires_at: iso(now0 + 3e6), last_seen_at: iso(now0 - 4000), offline_reason: null,
    channels: ['溢洪道', '坝顶东', '坝顶西', '泵房', '配电室', '库区全景'].map((name, k) => ({ id: `${id}/3402000000131000${String(k + 1).padStart(4, '0')}`, device: id, name, kind: 'video', online: k !== 4, ptz: k === 5, stream: `${id}/3402000000131000${String(k + 1).padStart(4, '0')}`, parent: id, longitude: null, latitude: null })) });
}
for (let i = 0; i < 3; i++) { const u = String(8001 + i), id = `phone:${u}`; devices.push({ id, bridge: 'phone', name: ['值班电话', '县应急局', '天通 1749'][i], kind: 'phone', online: i !== 1, manufacturer: 'Yealink', model: 'T54W', firmware: '96.86', version: '', transport: 'udp', address: `10.20.90.${i + 5}:5060`, registered_at: iso(now0 - 3e6), expires_at: iso(now0 + 1e6), last_seen_at: iso(now0 - 9000), offline_reason: i === 1 ? { zh: '话机没有注册。', en: 'The handset is not registered.' } : null, channels: [{ id: `${id}/audio`, device: id, name: '通话', kind: 'audio', online: i !== 1, ptz: false, stream: `${id}/audio`, parent: null }] }); }
for (let i = 0; i < Number(process.env.MOCK_DEVICES ?? 0); i++) { const n = `3403000000132${String(i).padStart(7, '0')}`, id = `gb28181:${n}`; devices.push({ id, bridge: 'gb28181', name: `路口 ${i}`, kind: 'camera', online: i % 7 !== 0, manufacturer: 'Dahua', model: 'IPC', firmware: '', version: '2016', transport: 'udp', address: `10.30.0.1`, registered_at: iso(now0), expires_at: iso(now0), last_seen_at: iso(now0), offline_reason: null, channels: [{ id: `${id}/${n}`, device: id, name: `路口 ${i}`, kind: 'video', online: true, ptz: false, stream: `${id}/${n}`, parent: null }] }); }

const ch = (name) => devices.flatMap((d) => d.channels).find((c) => c.name === name);
const stalled = { code: 'no_key_frame', whose: 'device', retry: true, zh: '摄像机不发关键帧，已再次请求', en: 'the camera sends no key frame; asked for one', next_zh: '检查摄像机的 I 帧间隔，设为 2 秒。', next_en: 'Check the camera’s key frame interval; set it to 2 s.' };
const timeout = { code: 'invite_timeout', whose: 'device', retry: true, zh: '摄像机没有应答取流请求', en: 'The camera did not answer the request for its stream', next_zh: '确认摄像机在线，并检查到 10.20.9.31 的 UDP 5060 是否放通。', next_en: 'Make sure it is online, and that UDP 5060 to 10.20.9.31 is open.' };
export const streams = new Map();
const stream = (name, state, extra = {}) => { const c = ch(name); streams.set(c.stream, { id: c.stream, name, state, viewers: 2, tracks: state === 'failed' ? [] : [{ id: 'v', codec: 'H264', width: 1920, height: 1080, clock_rate: 90000 }, { id: 'a', codec: 'PCMA', clock_rate: 8000 }], bit_rate_bps: state === 'live' ? 3_870_000 + streams.size * 91_000 : 0, frame_rate: state === 'live' ? 25 : 0, key_interval_s: 2, since: iso(now0 - 754_000), fault: null, ...extra }); };
for (const n of ['大坝左岸', '溢洪道', '渡口', '县医院急诊', '安置点一', '水文站', '前指指挥车']) stream(n, 'live');
stream('闸门 3', 'stalled', { fault: stalled, since: iso(now0 - 9_000) });
stream('油库', 'failed', { fault: timeout, since: iso(now0 - 30_000), viewers: 0 });
stream('桥头', 'starting', { tracks: [] });
export const on = ['大坝左岸', '溢洪道', '渡口', '闸门 3', '前指指挥车', '安置点一', '水文站', null, '县医院急诊'];
export const walls = new Map([['1', { id: '1', name: '主电视墙', layout: 9, by: 'zhang', can_undo: true, tiles: on.map((name, n) => ({ n, program: `program:wall/1/${n}`, source: name && ch(name).stream, source_name: name, live: name && ch(name).stream, since: iso(now0 - 60_000) })) }]]);
export const channelOf = ch;
export const allChannels = () => devices.flatMap((d) => d.channels);

const member = (id, kind, name, link, x = {}) => ({ id, kind, name, state: 'connected', muted: false, volume_db: 0, talking: false, level_dbov: -127, stream: null, has_video: false, codec: 'opus', link, joined_at: iso(now0 - 431_000), fault: null, loss_percent: 0, jitter_ms: 4, ...x });
export const conferences = new Map([
  ['c1', { id: 'c1', number: '7001', name: '防汛应急会商', locked: false, pin_set: true, picture: { program: 'program:conference/c1', source: ch('大坝左岸').stream, live: ch('大坝左岸').stream }, mix: 'mix:c1', stream: 'conference:c1', recording: null, started_at: iso(now0 - 5e5), members: [
    member('m1', 'browser', '指挥长席', 'lan', { has_video: true, stream: 'member:m1', level_dbov: -22, talking: true }), member('m2', 'phone', '值班电话 8001', 'lan', { codec: 'PCMA', muted: true }), member('m7', 'channel', '大坝左岸', 'lan', { codec: 'PCMA', has_video: true, stream: ch('大坝左岸').stream, volume_db: -6 }),
    member('m3', 'browser', '前指 王工', 'cellular', { has_video: true, stream: 'member:m3', loss_percent: 2.4, jitter_ms: 38 }), member('m4', 'phone', '县应急局 13905551234', 'cellular', { state: 'ringing', joined_at: null, codec: null }),
    member('m5', 'phone', '指挥车 VSAT', 'vsat', { codec: 'G722', jitter_ms: 21, loss_percent: 0.3, volume_db: 3 }), member('m6', 'phone', '天通 1749-0012345', 'tiantong', { codec: 'AMR', state: 'held', fault: { code: 'weak', whose: 'peer', retry: true, zh: '对方信号弱，声音断续', en: 'Weak signal at the other end; the voice breaks up' } }),
  ] }],
  ['c2', { id: 'c2', number: '7002', name: '医疗救护组', locked: true, pin_set: false, picture: { program: 'program:conference/c2', source: null, live: null }, mix: 'mix:c2', stream: 'conference:c2', recording: null, started_at: iso(now0 - 2e5), members: [] }],
]);
export const jobs = new Map([['j1', { id: 'j1', stream: ch('大坝左岸').stream, name: '大坝左岸', cause: 'plan', since: iso(now0 - 3.4e6), bytes: 1_640_000_000, state: 'recording', fault: null }]]);
export const recordings = [];
for (let back = 0; back < 9; back++) {
  if (back === 3 || back === 6) continue;
  const d = new Date(now0); d.setHours(0, 0, 0, 0);
  const base = d.getTime() - back * 86_400_000;
  ['大坝左岸', '溢洪道', '闸门 3', '前指指挥车'].forEach((name, k) => {
    for (let t = 0; t < 86_400_000; t += 3.6e6 * (1 + k)) {
      if (k === 3 && t < 3.6e7) continue;
      const from = base + t + k * 4.1e5, to = Math.min(from + 3.6e6 * (k === 0 ? 1 : 0.7), base + 86_400_000);
      if (from > now0) continue;
      const open = to > now0;
      recordings.push({ id: `r${back}${k}${t / 3.6e6}`, stream: ch(name).stream, name, from: iso(from), to: open ? null : iso(to), duration_s: Math.round((Math.min(to, now0) - from) / 1000), bytes: Math.round(((Math.min(to, now0) - from) / 1000) * 480_000), has_video: true, has_audio: k !== 2, state: open ? 'recording' : k === 1 && t === 0 ? 'repaired' : k === 2 && t === 3.6e6 * 6 ? 'damaged' : 'whole', cause: k === 3 ? 'hand' : 'plan', frames: 90_000 });
    }
  });
}
export const accounts = [{ name: 'admin', role: 'admin', must_change_password: false }, { name: 'zhang', role: 'operator', must_change_password: false }, { name: 'wall', role: 'viewer', must_change_password: false }, { name: 'liu', role: 'operator', must_change_password: true }];
export const phones = [['8001', '值班电话', true], ['8002', '县应急局', false], ['8003', '指挥车', true]].map(([user, name, registered], i) => ({ user, name, registered, contact: registered ? `10.20.90.${i + 5}:5060` : null, expires_at: registered ? iso(now0 + 1.8e6) : null }));
export const plans = [{ id: 'p1', stream: ch('大坝左岸').stream, name: '大坝左岸', enabled: true, always: true, windows: [], keep_days: 30 }, { id: 'p2', stream: ch('溢洪道').stream, name: '溢洪道', enabled: true, always: false, windows: [{ days: [1, 2, 3, 4, 5], from: '08:00', to: '18:00' }, { days: [6, 7], from: '06:00', to: '22:00' }], keep_days: 14 }];
export const audit = Array.from({ length: 134 }, (_, i) => ({ at: iso(now0 - i * 171_000), account: ['zhang', 'admin', 'liu'][i % 3], address: `10.1.1.${20 + (i % 5)}`, verb: ['take', 'record.start', 'member.mute', 'ptz', 'sign_in'][i % 5], object: [`wall/1/tile/${i % 9}`, ch('溢洪道').stream, 'c1/m2', ch('大坝左岸').stream, 'session'][i % 5], detail: i % 5 === 0 ? { source: ch('渡口').stream } : null, outcome: i % 17 === 16 ? 'denied' : 'ok' }));
export const traceOf = (id) => {
  const s = streams.get(id);
  const t0 = now0 - 760_000;
  const all = [['wanted', 0, '1 号墙需要这一路', 'Wanted by wall 1'], ['invited', 3, '已邀请 10.20.1.31:5060', 'Invited 10.20.1.31:5060'], ['answered', 84, '设备同意，流号 0100000123', 'The device accepted, stream number 0100000123'], ['connected', 86, 'UDP 端口 30120 等待数据', 'Waiting for data on UDP port 30120'], ['first_packet', 131, '收到第一个数据包', 'First packet'], ['ssrc', 131, '流标识相符', 'The stream number matches'], ['source_address', 131, '来源地址相符', 'The source address matches'], ['demuxed', 133, 'PS 已拆为 H.264 与 G.711A', 'PS taken apart: H.264 and G.711A'], ['parameter_sets', 140, '1920×1080，25 帧', '1920×1080, 25 frames'], ['first_key_frame', 171, '收到首个关键帧', 'First key frame'], ['live', 172, '画面实时', 'Live'], ['viewer_connected', 210, '观看端已连接', 'Viewer connected'], ['viewer_decoded', 296, '观看端已显示', 'Viewer shows it']];
  if (!s) return { stream: id, state: 'idle', session: null, steps: [], fault: null };
  const upto = s.state === 'failed' ? 2 : s.state === 'stalled' ? 10 : 13;
  return { stream: id, state: s.state, session: 'S-41', fault: s.fault, steps: all.slice(0, upto).map(([step, ms, zh, en], i) => ({ step, at: iso(t0 + ms), elapsed_ms: s.state === 'failed' && i === 1 ? 32_000 : ms, outcome: i === upto - 1 && s.state === 'failed' ? 'failed' : i === upto - 1 && s.state === 'stalled' ? 'waiting' : 'ok', zh, en, detail: s.state === 'failed' && i === 1 ? '408 Request Timeout' : null })) };
};

const call = (id, direction, caller, callee, x = {}) => ({ id, direction, caller: caller[0], caller_name: caller[1], callee: callee[0], callee_name: callee[1], dialled: callee[0], began_at: iso(now0 - 95_000), rang_at: iso(now0 - 93_000), answered_at: iso(now0 - 88_000), legs: [], ...x });
const leg = (number, codec, packets, lost, jitter_ms, mos, x = {}) => ({ number, codec, packets, lost, sent: packets, jitter_ms, mos, turned: null, recorded: null, ...x });
const P = { a: ['8001', '值班电话'], b: ['8002', '县应急局'], c: ['8003', '天通 1749'], d: ['7001', '防汛应急会商'] };
export const liveCalls = [
  call('l1', 'between', P.a, P.b, { state: 'talking', legs: [leg('8001', 'PCMA', 4403, 2, 1.8, 4.4, { turned: 'opus', recorded: 4401 }), leg('8002', 'opus', 4398, 61, 12.4, 4.1, { turned: 'PCMA', recorded: 0 })] }),
  call('l2', 'in', P.c, P.d, { state: 'held', legs: [leg('8003', 'G729', 2100, 160, 88.1, 2.7)] }),
  call('l3', 'between', P.b, P.c, { state: 'ringing', answered_at: null }),
];
export const calls = [
  call('h1', 'between', P.c, P.a, { answered_at: null, ended_at: iso(now0 - 50_000), ended_by: 'gateway', code: 'no_answer', zh: '振铃后无人接听', en: 'The phone rang and nobody answered', missed: true }),
  call('h2', 'between', P.a, P.c, { dialled: '8002', ended_at: iso(now0 - 20_000), ended_by: 'callee', code: 'ended', zh: '被叫挂机', en: 'the phone called hung up', missed: false, legs: [leg('8001', 'PCMA', 3400, 0, 0.9, 4.4, { recorded: 3400 }), leg('8003', 'PCMA', 3390, 9, 6.2, 4.3, { recorded: 3390 })] }),
  call('h3', 'out', P.d, P.b, { answered_at: null, ended_at: iso(now0 - 4_000_000), ended_by: 'callee', code: 'busy', zh: '对方正忙（486）', en: 'The phone is busy (486)', missed: true, began_at: iso(now0 - 4_020_000) }),
  call('h4', 'in', P.a, P.d, { ended_at: iso(now0 - 7_000_000), began_at: iso(now0 - 9_000_000), answered_at: iso(now0 - 8_990_000), ended_by: 'network', code: 'media_timeout', zh: '长时间没有收到话机的语音数据', en: 'No sound packets came from the phone for too long', missed: false, legs: [leg('8001', 'PCMA', 95_400, 420, 3.1, 4.3)] }),
];

// ---- the telephone desk
export const phoneOf = (user) => ({ ...phones.find((p) => p.user === user), forwards: { busy: user === '8001' ? '8003' : null, no_answer: null, offline: user === '8002' ? '8001' : null }, contacts: user === '8001' ? [['10.20.90.5:5060', 'udp', 'Yealink SIP-T46U 108.86.0.90'], ['10.20.0.31:51422', 'wss', 'Skybridge console']].map(([address, transport, user_agent]) => ({ contact: `sip:8001@${address}`, transport, address, expires_at: iso(now0 + 4e5), user_agent })) : user === '8003' ? [{ contact: 'sip:8003@10.20.90.7', transport: 'tcp', address: '10.20.90.7:40122', expires_at: iso(now0 + 9e5), user_agent: 'Grandstream GXP2170 1.0.11.84' }] : [] });
const queue = { number: '8800', name: '110 联动席', members: ['8001', '8002', '8003'], order: 'idle', most_waiting: 20, longest_wait: 300, overflow: '8002', ring_time: 20, wrap_up: 10, announce_every: 30 };
export const queues = [{ ...queue, waiting: [{ call: 'l3', caller: '13800138000', caller_name: '', since: iso(now0 - 43_000), position: 1 }, { call: 'l9', caller: '8012', caller_name: '抢险二队', since: iso(now0 - 12_000), position: 2 }], agents: [['8001', '值班电话', 'busy'], ['8002', '县应急局', 'offline'], ['8003', '指挥车', 'ringing']].map(([phone, name, state]) => ({ phone, name, state })) }];
const entry = (number, name, state, x = {}) => ({ number, name, state, tries: 1, code: null, zh: '', en: '', ...x });
const list = { name: '防汛一级响应', mode: 'all', conference: null, retries: 1, ring_time: 30, pause: 10, entries: [['8001', '值班电话'], ['8002', '县应急局'], ['8003', '指挥车'], ['13800138000', '水利局 王局']].map(([number, name]) => ({ number, name })) };
export const callLists = [
  { ...list, id: 'k1', run: { state: 'running', conference: 'c1', started_at: iso(now0 - 25_000), started_by: 'zhang', entries: [entry('8001', '值班电话', 'answered'), entry('8002', '县应急局', 'failed', { tries: 2, code: 'not_registered', zh: '话机未注册', en: 'The phone is not registered' }), entry('8003', '指挥车', 'ringing'), entry('13800138000', '水利局 王局', 'waiting', { tries: 0 })] } },
  { ...list, id: 'k2', name: '夜间值班', mode: 'in_order', entries: list.entries.slice(0, 2), run: null },
];
export const pickupGroups = [{ name: 'desk', members: ['8001', '8003'] }];
export const trunks = [
  { name: '电信 SIP 中继', state: 'up', registering: true, registered: true, zh: '已注册，可通话', en: 'registered, calls pass', since: iso(now0 - 8.2e7), server: '10.1.1.5:5060/udp', rtt_ms: 4.2, calls_in: 3, calls_out: 7, max_calls: 60, max_calls_in: 30, max_calls_out: 30, last_error: null, servers: [{ address: '10.1.1.5:5060', transport: 'udp', state: 'up', rtt_ms: 4.2 }, { address: '10.1.1.6:5060', transport: 'udp', state: 'unknown', rtt_ms: null }] },
  { name: '省厅 PBX', state: 'down', registering: false, registered: false, zh: '对端不应答 OPTIONS，正在重试', en: 'the other end does not answer OPTIONS; it is tried again', since: iso(now0 - 4.4e5), server: null, rtt_ms: null, calls_in: 0, calls_out: 0, max_calls: 20, max_calls_in: 0, max_calls_out: 0, last_error: { at: iso(now0 - 4.4e5), zh: '探测超时（10.9.0.2:5060/tcp）', en: 'no answer from 10.9.0.2:5060/tcp' }, servers: [{ address: '10.9.0.2:5060', transport: 'tcp', state: 'down', rtt_ms: null }] },
];
