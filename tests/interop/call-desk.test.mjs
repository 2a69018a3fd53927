// The duty desk on the real gateway with baresip phones: a queue with prompts, a call list, and coming into a call that stands.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Baresip } from './lib/baresip.mjs';
import { Gateway, id } from './lib/gateway.mjs';
import { cut, rms, seconds, tone, toneLevel } from './lib/sound.mjs';
import { say, Stage, until, wait } from './lib/stage.mjs';

const TONES = { 8001: 1250, 8002: 1900, 8003: 2300, 8005: 700 };
const secret = (user) => `phone-secret-${user.slice(2)}x`;
const tail = (phone, length) => { const heard = phone.heard(); return cut(heard, Math.max(0, seconds(heard) - length)); };

test('a queue, a call list and coming into a call', { timeout: 90_000 }, async (t) => {
  const stage = Stage.open(t, 'call-desk');
  const gateway = await Gateway.open(stage);
  const { api } = gateway;
  const events = await gateway.events();
  const phones = {};
  for (const user of ['8001', '8002', '8003', '8004', '8005']) await api.post('/phones', { user, password: secret(user), name: `Phone ${user}` });
  for (const [user, answer] of [['8001', 'manual'], ['8002', 'auto'], ['8003', 'manual'], ['8005', 'auto']]) {
    const says = await tone(stage, `${user}-says`, TONES[user], { seconds: 85 });
    phones[user] = await Baresip.open(stage, gateway, { user, password: secret(user), say: says, answer });
    await phones[user].registered();
  }
  const [first, agent, , officer] = Object.values(phones);

  // The queue: its only agent is signed out, so the caller is spoken to and waits.
  await api.put('/queues/500', { name: 'Duty desk', members: ['8002'], order: 'turn', wrap_up: 0 });
  await api.post('/queues/500/agents/8002', { signed_in: false });
  const queue = async () => (await api.get('/queues')).items.find((q) => q.number === '500');
  assert.equal((await queue()).agents[0].state, 'signed_out');
  await first.dial('500');
  await until('the caller waits', async () => (await queue()).waiting[0]?.caller === '8001');
  await wait(3_500);
  const prompt = rms(tail(first, 2));
  say(`the waiting caller hears words of ${prompt.toFixed(3)}`);
  assert.ok(prompt > 0.01, 'the caller is spoken to');
  const entry = async (kind) => (await api.get('/directory')).items.find((e) => e.kind === kind);
  assert.deepEqual(await entry('queue').then((e) => [e.number, e.name, e.online, e.members, e.waiting]), ['500', 'Duty desk', false, 0, 1]);
  await events.next('the queue is told', (e) => e.type === 'queues' && e.items[0].waiting.length === 1);
  await api.post('/queues/500/agents/8002', { signed_in: true });
  await agent.next('CALL_ESTABLISHED', 6);
  assert.equal((await queue()).agents[0].state, 'busy');
  await wait(3_000);
  const [hears, agentHears] = [toneLevel(tail(first, 1.5), TONES[8002]), toneLevel(tail(agent, 1.5), TONES[8001])];
  say(`the caller hears the agent's tone at ${hears.toFixed(3)}, the agent the caller's at ${agentHears.toFixed(3)}`);
  assert.ok(hears > 0.02 && agentHears > 0.02, 'both hear each other');
  first.hangup();
  await agent.next('CALL_CLOSED', 6);
  const record = await until('the record is written', async () => (await api.get('/calls?number=8001')).items[0]);
  assert.deepEqual([record.queue, record.callee, record.missed], ['500', '8002', false]);
  assert.ok(record.waited_ms > 3_000, `${record.waited_ms} ms in the queue`);

  // The list: one answers, one is not there, one lets it ring.
  const list = await api.post('/call-lists', { name: 'Flood', mode: 'all', conference: null, retries: 0, ring_time: 5, entries: [{ number: '8002' }, { number: '8004' }, { number: '8003', name: 'Team 3' }] });
  const begun = Date.now();
  const run = await api.post(`/call-lists/${id(list.id)}/start`, {});
  await phones[8003].next('CALL_INCOMING', 6, begun);
  assert.deepEqual(await entry('list').then((e) => [e.number, e.name, e.list, e.state, e.members]), ['', 'Flood', list.id, 'calling', 3]);
  const entries = async () => (await api.get('/call-lists')).items[0].run;
  const done = await until('the list is done', async () => { const r = await entries(); return r.state === 'done' && r; }, 12);
  assert.deepEqual(done.entries.map((e) => [e.number, e.state, e.code]), [['8002', 'answered', null], ['8004', 'failed', 'not_registered'], ['8003', 'failed', 'no_answer']]);
  await events.next('it is told that one rings', (e) => e.type === 'call_list' && e.run.entries[2].state === 'ringing');
  const inside = (await api.get(`/conferences/${id(run.conference)}`)).members;
  assert.deepEqual(inside.map((m) => [m.name, m.state]), [['Phone 8002', 'connected']]);
  await api.delete(`/conferences/${id(run.conference)}`);
  await agent.next('CALL_CLOSED', 6, begun);

  // Coming into a call: both go on as members, the officer's phone is called, all hear each other.
  const again = Date.now();
  await first.dial('8002');
  const call = await until('they talk', async () => (await api.get('/calls/live')).items.find((c) => c.state === 'talking'));
  await wait(1_500);
  const { conference } = await api.post(`/calls/${id(call.id)}/insert`, { dial: '8005' });
  await officer.next('CALL_ESTABLISHED', 8, again);
  await until('three members', async () => (await api.get(`/conferences/${id(conference)}`)).members.filter((m) => m.state === 'connected').length === 3);
  await wait(4_000);
  assert.ok(!first.events.some((e) => e.type === 'CALL_CLOSED' && e.received > again), 'nobody was hung up');
  const heard = (phone, of) => toneLevel(tail(phone, 2), TONES[of]);
  const levels = { officer: [heard(officer, 8001), heard(officer, 8002)], first: [heard(first, 8002), heard(first, 8005)], second: [heard(agent, 8001), heard(agent, 8005)] };
  say(`heard after coming in: ${JSON.stringify(levels, (_, v) => (typeof v === 'number' ? Number(v.toFixed(3)) : v))}`);
  for (const [who, pair] of Object.entries(levels)) assert.ok(pair.every((l) => l > 0.01), `${who} hears both others: ${pair}`);
  const rows = (await api.get('/audit?limit=100')).items;
  for (const verb of ['set_queue', 'sign_in_agent', 'start_call_list', 'insert_into_call']) assert.ok(rows.some((r) => r.verb === verb && r.account === 'admin'), `${verb} is in the audit log`);
  await api.delete(`/conferences/${id(conference)}`);
  await first.next('CALL_CLOSED', 6, again);
});

test('a phone that dies is called back, its seat is kept; one that hangs up is not', { timeout: 60_000 }, async (t) => {
  const stage = Stage.open(t, 'call-back');
  const gateway = await Gateway.open(stage, { more: { phone: { media_timeout: 3, ring_timeout: 4 }, calls: { call_back_pause: 1 } } });
  const { api } = gateway;
  await api.post('/phones', { user: '8001', password: secret('8001'), name: 'Phone 8001' });
  const says = await tone(stage, 'says', TONES[8001], { seconds: 60 });
  const open = async (name) => {
    const phone = await Baresip.open(stage, gateway, { user: '8001', password: secret('8001'), say: says, answer: 'auto', name });
    // The dead phone's contact is still there: two bindings.
    await until(`${name} is registered`, () => phone.has('REGISTER_OK') || [...phone.process.out, ...phone.process.err].some((l) => / 200 OK .*\[\d+ binding/.test(l)), 15);
    return phone;
  };
  const dying = await open('dying');
  const conference = await gateway.conference();
  const members = async () => (await api.get(`/conferences/${id(conference.id)}`)).members;
  const member = await api.post(`/conferences/${id(conference.id)}/members`, { dial: '8001' });
  await until('the phone is in', async () => (await members())[0]?.state === 'connected');
  await dying.process.kill();
  await until('its seat is kept', async () => (await members()).some((m) => m.id === member.id && m.state === 'returning'), 10);
  const back = await open('back');
  await until('it is back in its seat', async () => (await members()).some((m) => m.id === member.id && m.state === 'connected'), 15);
  await back.next('CALL_ESTABLISHED', 5);
  back.hangup();
  await until('who hangs up is gone', async () => (await members()).length === 0, 6);
  const at = Date.now();
  await wait(3_000);
  assert.ok(!back.events.some((e) => e.type === 'CALL_INCOMING' && e.received > at), 'and is not called');
});
