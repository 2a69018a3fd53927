// A gateway of its own for a test: configuration, start, first password, API, events.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Events } from './events.mjs';
import { freePorts } from './ports.mjs';
import { SKYBRIDGE, until } from './stage.mjs';

export const PASSWORD = 'interop-test-password';
export const PIN = '2468';

const value = (v) => {
  if (Array.isArray(v)) return `[${v.map(value).join(', ')}]`;
  if (v && typeof v === 'object') return `{ ${Object.entries(v).map(([k, inner]) => `${JSON.stringify(k)} = ${value(inner)}`).join(', ')} }`;
  return typeof v === 'string' ? JSON.stringify(v) : String(v);
};

/** TOML of {section: {key: value}}. */
export const toml = (sections) => Object.entries(sections)
  .map(([name, keys]) => `[${name}]\n${Object.entries(keys).map(([k, v]) => `${k} = ${value(v)}`).join('\n')}\n`).join('\n');

export class ApiFailure extends Error {
  constructor(method, path, status, body) {
    super(`${method} ${path}: ${status} ${typeof body === 'string' ? body.slice(0, 300) : JSON.stringify(body)}`);
    this.status = status;
    this.code = body?.error?.code;
  }
}

/** The API as one account. */
export class Api {
  constructor(base, token) { this.base = base; this.token = token; }

  async raw(method, path, body, headers = {}) {
    const isText = typeof body === 'string' || body instanceof Uint8Array;
    return fetch(`${this.base}${path.startsWith('/') && !path.startsWith('//') ? path : `/${path}`}`, {
      method,
      redirect: 'manual',
      headers: {
        ...(this.token ? { authorization: `Bearer ${this.token}` } : {}),
        ...(body !== undefined && !isText ? { 'content-type': 'application/json' } : {}),
        ...headers,
      },
      body: body === undefined ? undefined : isText ? body : JSON.stringify(body),
    });
  }

  async call(method, path, body) {
    const answer = await this.raw(method, `/api/v1${path}`, body);
    const text = await answer.text();
    let parsed = text;
    try { parsed = JSON.parse(text); } catch { /* no JSON */ }
    if (!answer.ok) throw new ApiFailure(method, path, answer.status, parsed);
    return parsed;
  }

  get(path) { return this.call('GET', path); }
  post(path, body = undefined) { return this.call('POST', path, body); }
  put(path, body) { return this.call('PUT', path, body); }
  patch(path, body) { return this.call('PATCH', path, body); }
  delete(path) { return this.call('DELETE', path); }

  /** Status and error code of a call that must fail. */
  async refused(method, path, body, headers) {
    const answer = await this.raw(method, `/api/v1${path}`, body, headers);
    const text = await answer.text();
    let code;
    try { code = JSON.parse(text).error?.code; } catch { /* no JSON */ }
    return { status: answer.status, code, text, headers: answer.headers };
  }
}

export const id = encodeURIComponent;

export class Gateway {
  /** `more`: configuration sections that override. */
  static async open(stage, { more = {}, name = 'gateway', env = {}, changePassword = true } = {}) {
    const gateway = new Gateway();
    gateway.stage = stage;
    gateway.name = name;
    gateway.env = { HALL_PIN: PIN, ...env };
    const http = await freePorts();
    const sip = await freePorts();
    const browser = await freePorts();
    const rtp = await freePorts(400);
    gateway.sip = sip;
    gateway.http = http;
    gateway.base = `http://127.0.0.1:${http}`;
    gateway.data = join(stage.data, name);
    const sections = {
      site: { data: gateway.data, log: process.env.INTEROP_LOG ?? 'info' },
      http: { listen: [], local: [`127.0.0.1:${http}`] },
      access: {},
      sip: { udp: [`127.0.0.1:${sip}`], tcp: [`127.0.0.1:${sip}`], tls: [] },
      media: { rtp_ports: `${rtp}-${rtp + 399}`, browser: [`127.0.0.1:${browser}`], browser_announced: ['127.0.0.1'] },
      recorder: { min_free_gigabytes: 0 },
      hall: { conference_pin: 'env:HALL_PIN' },
      gb28181: { allow_without_password: true },
      'gb28181.keepalive': { interval: 10, missed: 2 },
      'gb28181.media': { answer: 5, first_packet: 4, loss: 4, tcp_connect: 4, first_key: 6 },
      phone: {},
    };
    for (const [section, keys] of Object.entries(more)) sections[section] = { ...sections[section], ...keys };
    gateway.config = stage.file(`${name}.toml`);
    writeFileSync(gateway.config, toml(sections));
    await gateway.start();
    const first = await gateway.process.line(/one-time password (\S+)/, 5);
    gateway.firstPassword = first[1];
    if (changePassword) await gateway.changeFirstPassword();
    return gateway;
  }

  async start() {
    this.starts = (this.starts ?? 0) + 1;
    this.process = this.stage.start(this.starts > 1 ? `${this.name}-${this.starts}` : this.name, SKYBRIDGE, ['--config', this.config], { env: this.env });
    await this.process.line(/ is ready/, 30);
  }

  anonymous() { return new Api(this.base); }

  async signIn(name, password) {
    const session = await this.anonymous().post('/session', { name, password });
    return new Api(this.base, session.token);
  }

  async changeFirstPassword() {
    const api = await this.signIn('admin', this.firstPassword);
    await api.post('/session/password', { old: this.firstPassword, new: PASSWORD });
    this.api = await this.signIn('admin', PASSWORD);
  }

  /** An account that is ready to work. */
  async account(name, role) {
    await this.api.post('/accounts', { name, role, password: 'first-secret-0815' });
    const fresh = await this.signIn(name, 'first-secret-0815');
    await fresh.post('/session/password', { old: 'first-secret-0815', new: `own-secret-of-this-one` });
    return this.signIn(name, 'own-secret-of-this-one');
  }

  async events() {
    const events = await Events.open(this.base, this.api.token);
    this.stage.defer(() => events.close());
    return events;
  }

  /** Waits until a device with this many channels is on line. */
  device(name, channels = 1, seconds = 30) {
    return until(`device ${name} on line with ${channels} channels`, async () => {
      const device = await this.api.get(`/devices/${id(name)}`);
      return device.online && device.channels.filter((c) => c.online).length >= channels && device;
    }, seconds);
  }

  stream(name) { return this.api.get(`/streams/${id(name)}`); }
  trace(name) { return this.api.get(`/streams/${id(name)}/trace`); }

  live(name, seconds = 20) {
    return until(`${name} is live`, async () => { const s = await this.stream(name); return s.state === 'live' && s; }, seconds);
  }

  tile(n, source, wall = '1') { return this.api.put(`/walls/${wall}/tiles/${n}`, { source }); }

  async conference() {
    const { items } = await this.api.get('/conferences');
    assert.equal(items.length, 1, 'the conference of the first start is there');
    return items[0];
  }
}

export const GB = (device, channel = device) => `gb28181:${device}/${channel}`;
