// The gateway's event socket, read by a WebSocket client of a page's length (RFC 6455, text frames only).
import { randomBytes } from 'node:crypto';
import http from 'node:http';
import { until } from './stage.mjs';

export class Events {
  static open(base, token) {
    const events = new Events();
    events.all = [];
    events.gaps = 0;
    return new Promise((done, fail) => {
      const request = http.get(`${base}/api/v1/events`, {
        headers: { authorization: `Bearer ${token}`, connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13', 'sec-websocket-key': randomBytes(16).toString('base64') },
      });
      request.once('error', fail);
      request.once('response', (answer) => fail(new Error(`events: ${answer.statusCode}`)));
      request.once('upgrade', (_answer, socket, head) => {
        events.socket = socket;
        events.#read(socket, head);
        done(events);
      });
    });
  }

  #read(socket, head) {
    let rest = head;
    let text = [];
    const take = (more) => {
      rest = Buffer.concat([rest, more]);
      for (;;) {
        if (rest.length < 2) return;
        const op = rest[0] & 15, final = rest[0] & 128;
        let length = rest[1] & 127, at = 2;
        if (length === 126) { if (rest.length < 4) return; length = rest.readUInt16BE(2); at = 4; }
        else if (length === 127) { if (rest.length < 10) return; length = Number(rest.readBigUInt64BE(2)); at = 10; }
        if (rest.length < at + length) return;
        const body = rest.subarray(at, at + length);
        rest = rest.subarray(at + length);
        if (op === 9) this.#send(10, body);
        else if (op === 8) { socket.end(); return; }
        else if (op === 1 || op === 0) {
          text.push(body);
          if (final) { this.#event(JSON.parse(Buffer.concat(text).toString('utf8'))); text = []; }
        }
      }
    };
    socket.on('data', take);
    socket.on('error', () => {});
    socket.on('close', () => { this.closed = true; });
    take(Buffer.alloc(0));
  }

  #event(event) {
    if (typeof event.seq === 'number') {
      if (this.seq !== undefined && event.seq !== this.seq + 1) this.gaps++;
      this.seq = event.seq;
    }
    event.received = Date.now();
    this.all.push(event);
  }

  #send(op, body) {
    const mask = randomBytes(4);
    const masked = Buffer.from(body.map((b, n) => b ^ mask[n & 3]));
    this.socket.write(Buffer.concat([Buffer.from([128 | op, 128 | masked.length]), mask, masked]));
  }

  of(type) { return this.all.filter((e) => e.type === type); }
  next(what, matches, seconds = 15) { return until(what, () => this.all.find(matches), seconds, 50); }
  close() { this.socket.destroy(); }
}
