// baresip as a SIP meeting terminal with H.264: its picture is seen in Chromium, it sees the conference's picture, both by
// painted numbers; a picture that it does not take is made to fit; the conference is recorded with picture and sound.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { writeFileSync } from 'node:fs';
import { Baresip } from './lib/baresip.mjs';
import { Browser } from './lib/browser.mjs';
import { Field } from './lib/field.mjs';
import { Gateway, GB, id } from './lib/gateway.mjs';
import { freePorts } from './lib/ports.mjs';
import { tone } from './lib/sound.mjs';
import { say, Stage, until, wait } from './lib/stage.mjs';
import { film, screen, watchPort } from './lib/terminal.mjs';
import { paintedNumbers, probe } from './lib/video.mjs';

const CAMERA = '34020000001320000071', LARGE = '34020000001320000072';

test('a SIP terminal with video is a member with picture, both ways', { timeout: 180_000 }, async (t) => {
  const began = Date.now();
  const stage = Stage.open(t, 'video-terminal');
  const [filmA, filmB, say1] = await Promise.all([film(stage, 11), film(stage, 12), tone(stage, 'terminal-says', 1250, { seconds: 120 })]);
  const gateway = await Gateway.open(stage);
  for (const user of ['8001', '8002']) await gateway.api.post('/phones', { user, password: `terminal-secret-${user.slice(3)}`, name: `Terminal ${user}` });
  const conference = await gateway.conference();
  const path = `/conferences/${id(conference.id)}`;
  await gateway.api.patch(path, { pin: '' });
  // The second camera is larger than level 3.1 allows, which is what baresip states.
  Field.open(stage, gateway, { cameras: [
    { id: CAMERA, index: 1, size: '640x360', fps: 25, gop: 50, bitrate: '600k' },
    { id: LARGE, index: 2, size: '1920x1080', fps: 10, gop: 20, bitrate: '2000k' },
  ] });
  const members = () => gateway.api.get(path).then((c) => c.members);
  const member = (name) => members().then((list) => list.find((m) => m.name === name));

  // The terminal calls in.
  const a = await Baresip.open(stage, gateway, { user: '8001', password: 'terminal-secret-1', say: say1, film: filmA });
  await a.registered();
  await a.dial(conference.number);
  const first = await until('the terminal is a member with a live picture', async () => {
    const m = await member('Terminal 8001');
    return m?.state === 'connected' && m.has_video && m.picture?.state === 'live' && m;
  }, 20);
  const stream = await gateway.stream(first.stream);
  say(`the terminal's stream: ${stream.tracks.map((x) => `${x.codec} ${x.width ?? ''}x${x.height ?? ''}`).join(', ')}`);
  assert.equal(first.picture.sees, null, 'nobody else has a picture, and none is chosen');

  // Its picture in Chromium: the painted numbers rise with real time.
  const browser = await Browser.open(stage, gateway);
  await browser.signIn();
  await browser.layout(1);
  await browser.watchTile(0);
  await gateway.tile(0, first.stream);
  await until('Chromium shows the terminal', async () => (await browser.frames(0)).at(-1)?.camera === 11, 20);
  await browser.drain(0);
  await wait(4_000);
  const shown = (await browser.drain(0)).filter((f) => f.frame !== null);
  const rises = shown.slice(1).filter((f, n) => f.frame > shown[n].frame).length;
  say(`Chromium read ${shown.length} numbers of the terminal in 4 s, ${rises} of them higher than the one before`);
  assert.ok(shown.length > 30 && shown.every((f) => f.camera === 11) && rises >= shown.length * 0.9, 'its numbers, in order');
  await browser.shot('terminal-in-chromium');

  // The main picture on the terminal's screen.
  await gateway.device(`gb28181:${CAMERA}`);
  await gateway.device(`gb28181:${LARGE}`);
  await gateway.api.put(`${path}/picture`, { source: GB(CAMERA) });
  const looks = async (phone, camera, name, seconds = 20) => until(`${name} shows camera ${camera}`, async () => {
    const read = await screen(stage, phone, name);
    return read?.camera === camera && read;
  }, seconds, 300);
  const one = await looks(a, 1, 'screen-a');
  await wait(2_000);
  const two = await looks(a, 1, 'screen-a');
  say(`on the terminal's screen: camera 1, number ${one.frame}, later ${two.frame}, ${two.width}x${two.height}`);
  assert.ok(two.frame > one.frame, 'the numbers rise');
  assert.equal((await member('Terminal 8001')).picture.sees, GB(CAMERA));

  // Two terminals: the second one is called by the hall.
  const b = await Baresip.open(stage, gateway, { user: '8002', password: 'terminal-secret-2', say: say1, film: filmB, answer: 'auto' });
  await b.registered();
  await gateway.api.post(`${path}/members`, { dial: '8002' });
  const second = await until('the called terminal is a member with a live picture', async () => {
    const m = await member('Terminal 8002');
    return m?.picture?.state === 'live' && m;
  }, 20);
  await looks(b, 1, 'screen-b');
  // What is shown is the first terminal: it sees the other one, and the other one sees it.
  await gateway.api.put(`${path}/picture`, { source: first.stream });
  await looks(b, 11, 'screen-b');
  await looks(a, 12, 'screen-a');
  say('each terminal sees the other one while the first one is the main picture');

  // Recorded: picture and sound in one file.
  const job = await gateway.api.post('/recording/jobs', { stream: conference.stream });
  await wait(6_000);

  // A picture beyond its level is made smaller for it.
  await gateway.api.put(`${path}/picture`, { source: GB(LARGE) });
  const small = await looks(a, 2, 'screen-a', 30);
  say(`a 1920x1080 camera on the terminal's screen: ${small.width}x${small.height}`);
  assert.ok(small.width * small.height <= 3600 * 256, 'within level 3.1');
  assert.equal((await member('Terminal 8001')).picture.fault, null);

  await gateway.api.delete(`/recording/jobs/${id(job.id)}`);
  const files = await until('the recordings are closed', async () => {
    const { items } = await gateway.api.get(`/recordings?stream=${id(conference.stream)}`);
    return items.length > 0 && items.every((r) => r.state !== 'recording') && items;
  }, 20);
  // A picture of another size begins another file.
  const numbers = [];
  for (const [n, file] of files.entries()) {
    const answer = await gateway.api.raw('GET', `/api/v1/recordings/${id(file.id)}/media.mp4`);
    assert.equal(answer.status, 200);
    const mp4 = stage.file(`conference-${n}.mp4`);
    writeFileSync(mp4, Buffer.from(await answer.arrayBuffer()));
    const codecs = (await probe(stage, mp4, `ffprobe-${n}`)).streams.map((s) => s.codec_name).sort();
    assert.deepEqual(codecs, ['h264', 'opus']);
    numbers.push(...(await paintedNumbers(stage, mp4)).filter(Boolean));
  }
  const mine = numbers.filter((n) => n.camera === 11).length;
  say(`recorded: h264 and opus in ${files.length} files, ${numbers.length} numbers, ${mine} of the terminal`);
  assert.ok(mine > 50, 'the terminal is in the recording');

  a.hangup();
  await until('the terminal has left', async () => !(await member('Terminal 8001')));
  await gateway.api.delete(`${path}/members/${id(second.id)}`);
  await b.next('CALL_CLOSED', 10);
  assert.deepEqual(browser.troubles, [], 'no errors on the console');
  say(`${((Date.now() - began) / 1000).toFixed(0)} s`);
});

// Terminals that take fragments and high profile get the camera's own pictures. SIPp speaks for one, GStreamer decodes for it.
test('a terminal of mode 1 and high profile gets the camera as it is; key frames by INFO; the picture taken away and given back', { timeout: 120_000 }, async (t) => {
  const stage = Stage.open(t, 'video-terminal-sipp');
  const gateway = await Gateway.open(stage, { more: { phone: { allow_guests: true } } });
  const conference = await gateway.conference();
  const path = `/conferences/${id(conference.id)}`;
  await gateway.api.patch(path, { pin: '' });
  // 20 s between its key frames: one that comes sooner was asked for.
  const field = Field.open(stage, gateway, { cameras: [{ id: CAMERA, index: 3, size: '640x360', fps: 25, gop: 500, bitrate: '600k' }] });
  await gateway.device(`gb28181:${CAMERA}`);
  await gateway.api.put(`${path}/picture`, { source: GB(CAMERA) });

  const sip = await freePorts(2), sound = await freePorts(2), picture = await freePorts(2);
  const sdp = (port) => `v=0\no=terminal 1 [cseq] IN IP4 127.0.0.1\ns=-\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio ${sound} RTP/AVP 8\na=rtpmap:8 PCMA/8000\nm=video ${port} RTP/AVP 98\nb=TIAS:2000000\na=rtpmap:98 H264/90000\na=fmtp:98 profile-level-id=640028;packetization-mode=1\na=recvonly\n`;
  const head = (method, n, tag) => `${method} sip:${conference.number}@127.0.0.1:${gateway.sip} SIP/2.0\nVia: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]\nFrom: <sip:terminal@127.0.0.1>;tag=[pid]x[call_number]\nTo: <sip:${conference.number}@127.0.0.1>${tag}\nCall-ID: [call_id]\nCSeq: ${n} ${method}\nContact: <sip:terminal@[local_ip]:[local_port]>\nMax-Forwards: 70\n`;
  const send = (text) => `<send><![CDATA[\n${text}]]></send>\n`;
  const invite = (n, port, tag = '[peer_tag_param]') => send(`${head('INVITE', n, tag)}Content-Type: application/sdp\nContent-Length: [len]\n\n${sdp(port)}`)
    + '<recv response="100" optional="true"/><recv response="200"/>\n' + send(`${head('ACK', n, '[peer_tag_param]')}Content-Length: 0\n\n`);
  const info = (n) => send(`${head('INFO', n, '[peer_tag_param]')}Content-Type: application/media_control+xml\nContent-Length: [len]\n\n<?xml version="1.0" encoding="utf-8"?>\n<media_control><vc_primitive><to_encoder><picture_fast_update/></to_encoder></vc_primitive></media_control>\n`) + '<recv response="200"/>\n';
  const scenario = stage.file('terminal.xml');
  writeFileSync(scenario, `<?xml version="1.0" encoding="ISO-8859-1"?>\n<scenario name="terminal">\n${invite(1, picture, '')}<pause milliseconds="6000"/>\n${info(2)}<pause milliseconds="3000"/>\n${invite(3, 0)}<pause milliseconds="3000"/>\n${invite(4, picture)}<pause milliseconds="4000"/>\n${send(`${head('BYE', 5, '[peer_tag_param]')}Content-Length: 0\n\n`)}<recv response="200"/>\n</scenario>\n`);

  // GStreamer on the picture's port: each decoded picture's number, as it comes.
  const { numbers } = watchPort(stage, picture, 98);
  await wait(1_500);
  const sipp = stage.start('sipp', 'sipp', [`127.0.0.1:${gateway.sip}`, '-sf', scenario, '-i', '127.0.0.1', '-p', String(sip), '-mp', String(sound), '-m', '1', '-nostdin', '-trace_err', '-trace_msg', '-message_file', stage.file('sipp-messages.log'), '-error_file', stage.file('sipp-errors.log'), '-timeout', '60s'], { env: { TERM: 'dumb' } });
  const member = async () => (await gateway.api.get(path)).members.find((m) => m.kind === 'phone');
  await until('GStreamer reads the camera', () => numbers.length > 20, 20);
  assert.ok(numbers.every((n) => n.camera === 3), 'the camera and nothing else');
  assert.equal((await member()).picture.sees, GB(CAMERA));
  const running = (await (await fetch(`${gateway.base}/metrics`, { headers: { authorization: `Bearer ${gateway.api.token}` } })).text()).match(/^skybridge_transcoders (\d+)/m);
  assert.equal(running?.[1] ?? '0', '0', 'as it is: no transcoder runs');

  // INFO: the camera is asked for a key frame.
  const asked = field.of('iframe').length;
  await until('the camera is asked for a key frame', () => field.of('iframe').length > asked, 12);
  // Taken away: nothing comes. Given back: it goes on.
  await until('the terminal has no picture any more', async () => (await member())?.picture === null, 15);
  await wait(500);
  const before = numbers.length;
  await wait(1_500);
  assert.ok(numbers.length - before <= 2, `${numbers.length - before} pictures without a picture agreed`);
  await until('the picture is back', () => numbers.length > before + 20, 15);
  const { code } = await sipp.ended;
  assert.equal(code, 0, 'SIPp saw each answer that it waited for');
  const rises = numbers.slice(1).filter((n, i) => n.frame > numbers[i].frame).length;
  say(`GStreamer decoded ${numbers.length} numbers of the camera for the terminal, ${rises} of them higher than the one before`);
  assert.ok(rises >= numbers.length * 0.95);
});
