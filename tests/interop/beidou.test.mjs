// Short messages by BeiDou: a terminal on TCP and one behind a serial line; texts both ways, the card's interval, refusals, silence,
// positions and alarms, broken lines.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Beidou, sentence } from './lib/beidou.mjs';
import { Gateway, id } from './lib/gateway.mjs';
import { say, Stage, until } from './lib/stage.mjs';

const GB = { 收到: 'cad5b5bd', 道路中断: 'b5c0c2b7d6d0b6cf' };
const gb = (word) => Buffer.from(GB[word], 'hex');

test('texts, positions and alarms of two generations of terminals', { timeout: 120_000 }, async (t) => {
  const stage = Stage.open(t, 'beidou');
  let verdict = () => [true, 0, 0];
  const tcp = await Beidou.open(stage, { answer: (o, n) => verdict(o, n) });
  const old = await Beidou.open(stage, { generation: 'bds2' });
  const device = await old.serial(stage);
  const gateway = await Gateway.open(stage, { more: { satphone: { terminal: [
    { name: 'bd1', title: 'Vehicle one', address: `127.0.0.1:${tcp.port}`, period: 3, feedback: 4, users: { 4238473: 'Team 3' } },
    { name: 'bd2', device, generation: 'bds2', period: 2, feedback: 4 },
  ] } } });
  const { api } = gateway;
  const thread = 'satphone:bd1/4238473';
  const newest = async (of = thread) => (await api.get(`/messages?thread=${id(of)}`)).items;
  for (const name of ['bd1', 'bd2']) await until(`${name} is on line`, async () => (await api.get(`/devices/${id(`satphone:${name}`)}`)).online);
  await until('the card and the signal are facts', async () => (await api.get(`/devices/${id('satphone:bd1')}/facts`)).items.length === 2);

  // From the air: Chinese and ASCII in hexadecimal digits, Chinese as it is, behind a broken line and one with a wrong sum.
  tcp.raw(Buffer.concat([Buffer.alloc(9_000, 0x78), Buffer.from('\r\n$BDTCI,4238473,1,2,083010,2,0,41*00\r\n')]));
  tcp.message('4238473', gb('道路中断'));
  const first = await until('the text is a message', async () => (await newest())[0]);
  assert.deepEqual([first.text, first.name, first.thread_name, first.sender], ['道路中断', 'Team 3', 'Team 3', thread]);
  tcp.raw(sentence(Buffer.concat([Buffer.from('BDTCI,4238473,4238474,2,083010,1,0,'), gb('收到'), Buffer.from(',ok')])));
  await until('Chinese as it is', async () => (await newest())[0].text === '收到,ok');
  old.message('0247718', gb('收到'));
  await until('the serial line brings one', async () => (await newest('satphone:bd2/0247718'))[0]?.text === '收到');

  // To the air: at the card's pace, each with what became of it and how long it waits.
  const sent = [];
  for (const text of ['第一条 first', 'second', 'third']) sent.push(await api.post('/messages', { thread, text }));
  const state = async (n) => (await api.get(`/messages?thread=${id(thread)}`)).items.find((m) => m.id === sent[n].id).deliveries[0];
  const waits = await until('the third one is told when it leaves', async () => (await state(2)).leaves_at);
  const seconds = (Date.parse(waits) - Date.parse(sent[2].at)) / 1000;
  say(`the third of three is told to leave in ${seconds.toFixed(1)} s`);
  assert.ok(seconds > 2 && seconds < 10, `${seconds} s`);
  await until('all are delivered', async () => (await Promise.all([0, 1, 2].map(state))).every((d) => d.state === 'delivered'), 20);
  assert.deepEqual(tcp.orders.map((o) => [o.to, o.text]), [['4238473', '第一条 first'], ['4238473', 'second'], ['4238473', 'third']]);
  const gaps = tcp.orders.slice(1).map((o, n) => o.at - tcp.orders[n].at);
  say(`sent ${gaps.join(' and ')} ms apart, the card takes one in 3 s`);
  // As they arrive: a busy machine reads one late.
  assert.ok(gaps.every((g) => g > 2_500), `${gaps}`);
  const overSerial = await api.post('/messages', { thread: 'satphone:bd2/0247718', text: '你好' });
  await until('the serial line takes one', async () => (await newest('satphone:bd2/0247718')).find((m) => m.id === overSerial.id).deliveries[0].state === 'delivered');
  assert.deepEqual(old.orders.map((o) => [o.sentence, o.to, o.text]), [['CCTXA', '0247718', '你好']]);

  // Too early: again when the terminal says. Refused, and silence: told in words, not sent again.
  verdict = (o, n) => (o.text === 'early' && n === 4 ? [false, 1, 2] : o.text === 'refused' ? [false, 5, 0] : o.text === 'silent' ? null : [true, 0, 0]);
  for (const [text, want, code] of [['early', 'delivered', undefined], ['refused', 'failed', 'satphone_refused'], ['silent', 'failed', 'satphone_no_feedback']]) {
    const m = await api.post('/messages', { thread, text });
    const done = await until(`${text} is ${want}`, async () => { const d = (await newest()).find((x) => x.id === m.id).deliveries[0]; return d.state === want && d; }, 20);
    assert.equal(done.fault?.code, code);
  }
  assert.deepEqual(tcp.orders.slice(3).map((o) => o.text), ['early', 'early', 'refused', 'silent']);

  // A long text in pieces, none above the bound.
  verdict = () => [true, 0, 0];
  const long = '北岸水位每小时上涨十厘米，请各队在二十点以前撤到高处，';
  const whole = await api.post('/messages', { thread, text: long.repeat(2) });
  await until('all pieces are taken', async () => (await newest()).find((m) => m.id === whole.id).deliveries[0].state === 'delivered', 25);
  const pieces = tcp.orders.slice(7);
  assert.ok(pieces.length >= 2 && pieces.every((p) => p.bytes <= 70), pieces.map((p) => p.bytes).join());
  assert.equal(pieces.map((p) => p.text.replace(/^\(\d+\/\d+\)/, '')).join(''), long.repeat(2));

  // Where people are, and who calls for help.
  tcp.message('4238473', 'P,,3123456,12147890,12,083010', '2');
  tcp.say('GNGGA,083010.00,3112.3400,N,12128.9100,E,1,12,0.8,14.2,M,0,M,,');
  const place = (channel) => api.get(`/channels/${id(channel)}/track`).then((x) => x.last);
  const there = await until('the position is on the track', () => place('satphone:bd1/4238473'), 10);
  assert.ok(Math.abs(there.latitude - 31.23456) < 1e-5 && Math.abs(there.longitude - 121.4789) < 1e-5, JSON.stringify(there));
  const own = await until('the terminal\'s own position', () => place('satphone:bd1/0'), 10);
  assert.ok(Math.abs(own.latitude - 31.205667) < 1e-5 && Math.abs(own.longitude - 121.481833) < 1e-5, JSON.stringify(own));
  tcp.message('4238473', 'A,,SOS', '2');
  const alarm = await until('the alarm is listed', async () => (await api.get('/alarms')).items.find((a) => a.kind === 'satphone.alarm'));
  assert.deepEqual([alarm.severity, alarm.description, alarm.name], [1, 'SOS', 'Team 3']);
  assert.equal((await newest()).length, 9, 'neither is a message');

  // The terminal goes and comes: a text meanwhile is refused in words.
  tcp.close();
  await until('it is off line', async () => !(await api.get(`/devices/${id('satphone:bd1')}`)).online);
  const lost = await api.post('/messages', { thread, text: 'too late' });
  const gone = await until('it is not delivered', async () => (await newest()).find((m) => m.id === lost.id).deliveries[0].fault);
  assert.equal(gone.code, 'satphone_terminal_down');
  assert.equal(tcp.bad + old.bad, 0, 'every sentence of ours was right');
});
