// baresip as the phone: configured on the fly, steered by ctrl_tcp, sound from a file, what it hears written by sndfile.
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { freePorts } from './ports.mjs';
import { readWav } from './sound.mjs';
import { until } from './stage.mjs';

export class Baresip {
  static async open(stage, gateway, { user, password, say, answer = 'manual', name = `baresip-${user}`, codecs = 'PCMA/8000/1,PCMU/8000/1', rate = 8000, channels = 1, modules = [], film, host = '127.0.0.1', own = '127.0.0.1', writesTo }) {
    const phone = new Baresip();
    phone.user = user;
    phone.stage = stage;
    phone.gateway = gateway;
    phone.host = host;
    phone.folder = stage.file(name);
    phone.heardFolder = join(phone.folder, 'heard');
    mkdirSync(phone.heardFolder, { recursive: true });
    const sip = await freePorts(), control = await freePorts(), shown = await freePorts(), rtp = await freePorts(40);
    phone.events = [];
    phone.port = sip;
    writeFileSync(join(phone.folder, 'config'), [
      'poll_method epoll', `sip_listen ${own}:${sip}`, 'sip_transports udp,tcp', `net_interface ${own.replace(/[[\]]/g, '')}`, `prefer_ipv6 ${own === '127.0.0.1' ? 'no' : 'yes'}`, 'call_local_timeout 60', 'call_max_calls 4',
      'module_path /usr/lib/baresip/modules', 'module g711.so', 'module g722.so', ...modules.map((m) => `module ${m}.so`), 'module aufile.so', 'module aubridge.so', 'module sndfile.so', 'module_tmp account.so',
      'module_app menu.so', 'module_app ctrl_tcp.so', `ctrl_tcp_listen 127.0.0.1:${control}`,
      `audio_source aufile,${say}`, 'audio_player aubridge,null', 'audio_alert aubridge,null2', `ausrc_srate ${rate}`, `auplay_srate ${rate}`, `ausrc_channels ${channels}`, `auplay_channels ${channels}`,
      'audio_level no', 'audio_buffer 20-160', 'rtp_stats yes', `rtp_ports ${rtp}-${rtp + 39}`, 'rtcp_mux no', 'jitter_buffer_delay 5-10',
      // What it shows to people goes to whoever is connected to its console.
      ...(writesTo ? ['module_app contact.so', 'module_app cons.so', `cons_listen 127.0.0.1:${shown}`] : []),
      // A meeting terminal: its camera is a film, its screen is read by snapshots.
      ...(film ? ['module avcodec.so', 'module avformat.so', 'module swscale.so', 'module fakevideo.so', 'module snapshot.so', `video_source avformat,${film}`, 'video_display fakevideo,null', 'video_size 640x360', 'video_bitrate 600000', 'video_fps 25', 'avcodec_h264enc libx264', 'avcodec_h264dec h264'] : []),
      `snd_path ${phone.heardFolder}`, 'ring_aufile none', 'ringback_aufile none', 'busy_aufile none', 'error_aufile none', 'notfound_aufile none', 'callwaiting_aufile none', '',
    ].join('\n'));
    writeFileSync(join(phone.folder, 'accounts'),
      `<sip:${user}@${host}:${gateway.sip};transport=udp>;auth_user=${user};auth_pass=${password};regint=60;answermode=${answer};audio_codecs=${codecs};dtmfmode=rtpevent${film ? ';video_codecs=h264' : ''}\n`);
    const contact = writesTo ? `"${writesTo}" <sip:${writesTo}@${host}:${gateway.sip}>\n` : '';
    writeFileSync(join(phone.folder, 'contacts'), contact);
    writeFileSync(join(phone.folder, 'current_contact'), contact);
    phone.process = stage.start(name, 'baresip', ['-f', phone.folder, '-v']);
    phone.socket = await until('baresip takes orders', () => new Promise((done, fail) => {
      if (!phone.process.running) return fail(new Error('baresip has ended'));
      const socket = net.connect(control, '127.0.0.1');
      socket.once('connect', () => done(socket));
      socket.once('error', fail);
    }), 10);
    stage.defer(() => phone.socket.destroy());
    phone.shown = '';
    if (writesTo) {
      const screen = await until('baresip has a console', () => new Promise((done, fail) => {
        const socket = net.connect(shown, '127.0.0.1');
        socket.once('connect', () => done(socket));
        socket.once('error', fail);
      }), 10);
      screen.on('error', () => {});
      screen.setEncoding('utf8').on('data', (text) => { phone.shown += text; phone.process.log.write(`shown: ${text}`); });
      stage.defer(() => screen.destroy());
    }
    let rest = Buffer.alloc(0);
    phone.socket.on('error', () => {});
    phone.socket.on('data', (more) => {
      rest = Buffer.concat([rest, more]);
      for (;;) {
        const colon = rest.indexOf(':');
        if (colon < 0) return;
        const length = Number(rest.subarray(0, colon));
        if (rest.length < colon + 2 + length) return;
        const text = rest.subarray(colon + 1, colon + 1 + length).toString();
        rest = rest.subarray(colon + 2 + length);
        const message = JSON.parse(text);
        message.received = Date.now();
        phone.events.push(message);
        phone.process.log.write(`< ${text}\n`);
      }
    });
    return phone;
  }

  order(command, params = '') {
    const text = JSON.stringify({ command, params, token: 't' });
    this.process.log.write(`> ${text}\n`);
    this.socket.write(`${Buffer.byteLength(text)}:${text},`);
  }
  next(type, seconds = 15, after = 0) {
    return until(`baresip ${this.user} says ${type}`, () => this.events.find((e) => e.event && e.type === type && e.received >= after), seconds, 30);
  }
  has(type) { return this.events.some((e) => e.event && e.type === type); }

  /** The event may have come before we took the control connection: the line on the terminal tells it too. */
  registered(seconds = 15) {
    return until(`baresip ${this.user} is registered`, () => this.has('REGISTER_OK') || [...this.process.out, ...this.process.err].some((l) => / 200 OK .*\[1 binding/.test(l)), seconds);
  }

  async dial(number) {
    const at = Date.now();
    this.order('dial', `sip:${number}@${this.host}:${this.gateway.sip}`);
    await this.next('CALL_ESTABLISHED', 15, at);
  }
  /** Digits by RFC 4733 while in a call. */
  async digits(text) {
    for (const digit of text) {
      this.order('sndcode', digit);
      await new Promise((done) => setTimeout(done, 300));
    }
  }
  /** A MESSAGE to whom it `writesTo`. */
  write(text) { this.order('message', text); }
  /** It showed this to people. */
  shows(text, seconds = 10) { return until(`baresip ${this.user} shows ${text}`, () => this.shown.includes(text), seconds); }
  hangup() { this.order('hangup'); }

  /** One for each call, the oldest first. */
  recordings() { return readdirSync(this.heardFolder).filter((f) => /-dec\.wav$/.test(f)).sort(); }

  /** What the phone heard so far: the newest file that sndfile writes of decoded sound. */
  heard() {
    const files = this.recordings();
    return files.length ? readWav(join(this.heardFolder, files.at(-1))) : readWav('');
  }
}
