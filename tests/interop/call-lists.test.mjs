// Call lists with baresip phones: in order, one after the other with retries; stopped while one rings, and started twice.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Baresip } from './lib/baresip.mjs';
import { Gateway, id } from './lib/gateway.mjs';
import { tone } from './lib/sound.mjs';
import { say, Stage, until, wait } from './lib/stage.mjs';

const secret = (user) => `phone-secret-${user.slice(2)}x`;
const RING = 5;

test('a call list in order', { timeout: 90_000 }, async (t) => {
  const stage = Stage.open(t, 'call-lists');
  const gateway = await Gateway.open(stage);
  const { api } = gateway;
  const phones = {};
  const says = await tone(stage, 'says', 440, { seconds: 80 });
  for (const [user, answer] of [['8001', 'auto'], ['8002', 'manual'], ['8003', 'auto']]) {
    await api.post('/phones', { user, password: secret(user), name: `Phone ${user}` });
    phones[user] = await Baresip.open(stage, gateway, { user, password: secret(user), say: says, answer });
    await phones[user].registered();
  }
  const all = (user, type, after = 0) => phones[user].events.filter((e) => e.event && e.type === type && e.received >= after).map((e) => e.received);
  const runOf = async (list) => (await api.get('/call-lists')).items.find((l) => l.id === list.id).run;
  const states = (run) => run.entries.map((e) => [e.number, e.state, e.code, e.tries]);
  const make = (name, numbers, more) => api.post('/call-lists', { name, mode: 'in_order', conference: null, retries: 0, ring_time: RING, entries: numbers.map((number) => ({ number })), ...more });

  await t.test('each is called when the one before has answered or was given up, and once more who did not answer', async () => {
    const list = await make('Order', ['8001', '8002', '8003'], { retries: 1, pause: 1 });
    const begun = Date.now();
    const run = await api.post(`/call-lists/${id(list.id)}/start`, {});
    await phones[8002].next('CALL_INCOMING', 6, begun);
    assert.equal(all('8001', 'CALL_ESTABLISHED', begun).length, 1, 'the first one has answered before the second is called');
    const twice = await api.refused('POST', `/call-lists/${id(list.id)}/start`, {});
    assert.deepEqual([twice.status, twice.code], [409, 'list_runs']);
    await wait(1_000);
    assert.equal(all('8003', 'CALL_ESTABLISHED', begun).length, 0, 'the third one waits while the second rings');
    const done = await until('the list is done', async () => { const r = await runOf(list); return r.state === 'done' && r; }, 2 * RING + 8);
    assert.deepEqual(states(done), [['8001', 'answered', null, 1], ['8002', 'failed', 'no_answer', 2], ['8003', 'answered', null, 1]]);
    const [rang, gaveUp, third] = [all('8002', 'CALL_INCOMING', begun), all('8002', 'CALL_CLOSED', begun), all('8003', 'CALL_ESTABLISHED', begun)];
    say(`rang for ${rang.map((at, n) => ((gaveUp[n] - at) / 1000).toFixed(1)).join(' s and ')} s; the third one ${third[0] - gaveUp[1]} ms later`);
    assert.equal(rang.length, 2);
    assert.ok(rang.every((at, n) => Math.abs(gaveUp[n] - at - RING * 1000) < 1_500), `${rang} ${gaveUp}`);
    assert.ok(rang[1] - gaveUp[0] >= 900, 'after the pause');
    assert.ok(third[0] >= gaveUp[1] - 100, 'in order');
    const inside = (await api.get(`/conferences/${id(run.conference)}`)).members.map((m) => [m.name, m.state]).sort();
    assert.deepEqual(inside, [['Phone 8001', 'connected'], ['Phone 8003', 'connected']]);
    await api.delete(`/conferences/${id(run.conference)}`);
    await Promise.all(['8001', '8003'].map((user) => phones[user].next('CALL_CLOSED', 6, begun)));
  });

  await t.test('the stop ends what rings, calls nobody else, and leaves who has answered', async () => {
    const list = await make('Stop', ['8001', '8002', '8003'], { ring_time: 30 });
    const begun = Date.now();
    const run = await api.post(`/call-lists/${id(list.id)}/start`, {});
    await phones[8002].next('CALL_INCOMING', 6, begun);
    await wait(500);
    const at = Date.now();
    await api.post(`/call-lists/${id(list.id)}/stop`, {});
    await phones[8002].next('CALL_CLOSED', 3, at);
    const stopped = await until('the list is stopped', async () => { const r = await runOf(list); return r.state === 'stopped' && r; }, 3);
    assert.deepEqual(stopped.entries.map((e) => [e.number, e.state]), [['8001', 'answered'], ['8002', 'stopped'], ['8003', 'stopped']]);
    await wait(2_000);
    assert.equal(all('8003', 'CALL_ESTABLISHED', begun).length, 0, 'nobody else is called');
    const inside = (await api.get(`/conferences/${id(run.conference)}`)).members.map((m) => [m.name, m.state]);
    assert.deepEqual(inside, [['Phone 8001', 'connected']]);
    assert.equal((await api.refused('POST', `/call-lists/${id(list.id)}/stop`, {})).status, 404, 'it does not run any more');
  });
});
