// A telephone of the hall in the browser: SIP over WebSocket (RFC 7118) by sip.js, sound by WebRTC. Fetched only when it is needed.
import { Invitation, Inviter, Registerer, RegistererState, SessionState, UserAgent, type Session } from 'sip.js';
import type { IncomingResponse } from 'sip.js/lib/core';
import { SessionDescriptionHandler, type SessionDescriptionHandlerOptions } from 'sip.js/lib/platform/web';
import { asApiError, unreachable, ApiError } from '../api/client';
import type { PhoneTicket, Text } from '../api/types';
import type { Line } from '../state/phone';
import { microphoneWords, refusedWords, transferWords } from './phoneWords';

/** How long ICE may gather: all is on one network here, there is no STUN server. */
const GATHER_MS = 1_000;
const SOUND: MediaTrackConstraints = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
/** Seconds between registrations: a browser that died is forgotten after so long. */
const EXPIRES = 120;

interface Hooks { line: (l: Line) => void; ready: () => void; lost: (why: ApiError | null) => void }
interface Kept { line: Line; session: Session; audio: HTMLAudioElement; ended: Text | null }

const handler = (s: Session) => (s.sessionDescriptionHandler instanceof SessionDescriptionHandler ? s.sessionDescriptionHandler : null);
let count = 0;

export class SoftPhone {
  private readonly hooks: Hooks;
  private readonly ua: UserAgent;
  private readonly registerer: Registerer;
  private readonly kept = new Map<string, Kept>();
  private stopped = false;

  constructor(ticket: PhoneTicket, hooks: Hooks) {
    this.hooks = hooks;
    this.ua = new UserAgent({
      uri: UserAgent.makeURI(`sip:${ticket.phone}@${location.hostname}`)!,
      authorizationUsername: ticket.user, authorizationPassword: ticket.password, displayName: ticket.name,
      contactName: ticket.phone, contactParams: { transport: location.protocol === 'https:' ? 'wss' : 'ws' },
      logLevel: 'error', logBuiltinEnabled: false, userAgentString: 'Skybridge console', noAnswerTimeout: 120,
      transportOptions: { server: `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/sip`, traceSip: false, keepAliveInterval: 20 },
      sessionDescriptionHandlerFactory: (session, options) => new SessionDescriptionHandler(
        session.userAgent.getLogger('sip.SessionDescriptionHandler'),
        (constraints) => (constraints.audio ? navigator.mediaDevices.getUserMedia({ audio: SOUND }) : Promise.resolve(new MediaStream())),
        { iceGatheringTimeout: GATHER_MS, peerConnectionConfiguration: { iceServers: [], bundlePolicy: 'max-bundle', rtcpMuxPolicy: 'require' }, ...options },
      ),
      delegate: {
        onInvite: (i) => this.called(i),
        onDisconnect: () => { if (!this.stopped) { this.dropAll(); this.hooks.lost(unreachable()); } },
      },
    });
    this.registerer = new Registerer(this.ua, { expires: EXPIRES, refreshFrequency: 75 });
    this.registerer.stateChange.addListener((s) => {
      if (s === RegistererState.Registered) this.hooks.ready();
      // Lost by a refusal, as after a restart of the gateway: a new ticket is fetched.
      else if (s === RegistererState.Unregistered && !this.stopped) this.hooks.lost(null);
    });
  }

  async start() {
    await this.ua.start();
    await this.registerer.register({
      requestDelegate: { onReject: (r) => { if (!this.stopped && r.message.statusCode !== 401) this.hooks.lost(this.refusal(r)); } },
    });
  }
  /** Registers anew: a line that is dead shows. */
  async check() {
    if (!this.stopped && this.registerer.state === RegistererState.Registered) await this.registerer.register().catch(() => { /* one is under way */ });
  }
  private refusal(r: IncomingResponse): ApiError | null {
    const w = refusedWords(r.message.statusCode ?? 0, r.message.getHeader('reason'));
    return new ApiError(500, { code: 'register_refused', whose: 'us', retry: true, ...w });
  }

  /** Hangs up, logs out, closes. */
  async stop() {
    if (this.stopped) return;
    this.stopped = true;
    for (const id of [...this.kept.keys()]) await this.end(id).catch(() => {});
    try { await this.registerer.unregister(); } catch { /* was not registered */ }
    try { await this.ua.stop(); } catch { /* is closed */ }
  }
  private dropAll() {
    for (const k of this.kept.values()) this.finish(k, { zh: '与网关的连接断开，通话已结束', en: 'The connection to the gateway was lost; the call has ended' });
  }

  connections() { return [...this.kept.values()].map((k) => handler(k.session)?.peerConnection ?? null).filter((p) => p !== null); }

  // ---- calls
  private target(number: string) { return UserAgent.makeURI(`sip:${encodeURIComponent(number).replaceAll('%2B', '+')}@${location.hostname}`); }

  async dial(number: string) {
    const to = this.target(number);
    if (!to) return;
    const inviter = new Inviter(this.ua, to, { earlyMedia: true, sessionDescriptionHandlerOptions: { constraints: { audio: true, video: false } } as SessionDescriptionHandlerOptions });
    const k = this.keep(inviter, { direction: 'out', number, name: '', state: 'calling' });
    try {
      await inviter.invite({
        requestDelegate: {
          onProgress: (r) => { if ((r.message.statusCode ?? 0) >= 180) this.update(k, { rings: !handler(inviter)?.remoteMediaStream.getAudioTracks().length || r.message.statusCode === 180 }); },
          onReject: (r) => { k.ended = refusedWords(r.message.statusCode ?? 0, r.message.getHeader('reason')); },
        },
      });
    } catch (e) { this.broken(k, e); }
  }

  private called(i: Invitation) {
    const from = i.remoteIdentity;
    const k = this.keep(i, { direction: 'in', number: from.uri.user ?? '', name: from.displayName ?? '', state: 'ringing' });
    // A phone that is cancelled, or answered at another phone of the number, has no reason of ours.
    i.delegate = { onCancel: (c) => { k.ended = /cause=200|elsewhere/i.test(c.request.getHeader('reason') ?? '') ? { zh: '已在其他话机接听', en: 'Answered at another phone' } : { zh: '对方已取消呼叫', en: 'The caller gave up' }; } };
  }

  private keep(session: Session, l: Pick<Line, 'direction' | 'number' | 'name' | 'state'>): Kept {
    const audio = new Audio();
    audio.autoplay = true;
    const k: Kept = { session, audio, ended: null, line: { id: `line-${++count}`, muted: false, since: Date.now(), answeredAt: null, words: null, rings: false, ...l } };
    this.kept.set(k.line.id, k);
    this.hooks.line(k.line);
    session.stateChange.addListener((s) => {
      if (s === SessionState.Established) {
        this.play(k);
        const refer = session.delegate?.onRefer;
        session.delegate = { ...session.delegate, onRefer: refer, onInvite: () => this.update(k, {}) };
        this.update(k, { state: 'talking', answeredAt: Date.now(), rings: false });
      } else if (s === SessionState.Terminated) setTimeout(() => this.finish(k, k.ended)); // why it was refused is told after that it ended
    });
    return k;
  }
  private play(k: Kept) {
    const h = handler(k.session);
    if (!h) return;
    k.audio.srcObject = h.remoteMediaStream;
    void k.audio.play().catch(() => { /* a page without a click yet: plays after the first one */ });
  }
  private update(k: Kept, p: Partial<Line>) {
    if (k.line.state === 'ended') return;
    k.line = { ...k.line, ...p };
    this.hooks.line(k.line);
  }
  private finish(k: Kept, words: Text | null) {
    if (k.line.state === 'ended') return;
    k.audio.srcObject = null;
    this.kept.delete(k.line.id);
    k.line = { ...k.line, state: 'ended', words: words ?? k.line.words, rings: false };
    this.hooks.line(k.line);
  }
  private broken(k: Kept, e: unknown) {
    k.ended = microphoneWords(e) ?? asApiError(e);
    const s = k.session;
    if (s instanceof Invitation && s.state === SessionState.Initial) void s.reject({ statusCode: 480 }).catch(() => {});
    this.finish(k, k.ended);
  }

  async answer(id: string) {
    const k = this.kept.get(id);
    if (!(k?.session instanceof Invitation) || k.line.state !== 'ringing') return;
    this.update(k, { state: 'connecting' });
    try { await k.session.accept({ sessionDescriptionHandlerOptions: { constraints: { audio: true, video: false } } as SessionDescriptionHandlerOptions }); } catch (e) { this.broken(k, e); }
  }

  async end(id: string) {
    const k = this.kept.get(id);
    if (!k) return;
    const s = k.session;
    k.ended ??= { zh: '已挂断', en: 'You hung up' };
    try {
      if (s.state === SessionState.Established) await s.bye();
      else if (s instanceof Inviter) await s.cancel();
      else if (s instanceof Invitation) await s.reject({ statusCode: k.line.state === 'ringing' ? 603 : 480 });
    } catch { this.finish(k, k.ended); }
  }

  mute(id: string, on: boolean) {
    const k = this.kept.get(id);
    if (!k) return;
    this.silence(k, on || k.line.state === 'held');
    this.update(k, { muted: on });
  }
  private silence(k: Kept, on: boolean) {
    for (const s of handler(k.session)?.peerConnection?.getSenders() ?? []) if (s.track) s.track.enabled = !on;
  }

  async hold(id: string, on: boolean) {
    const k = this.kept.get(id);
    if (!k || k.session.state !== SessionState.Established || (k.line.state === 'held') === on) return;
    this.silence(k, on || k.line.muted);
    k.session.sessionDescriptionHandlerOptionsReInvite = { hold: on } as SessionDescriptionHandlerOptions;
    await new Promise<void>((done) => {
      k.session.invite({
        requestDelegate: {
          onAccept: () => { this.update(k, { state: on ? 'held' : 'talking', words: null }); done(); },
          onReject: () => { this.silence(k, k.line.muted); this.update(k, { words: on ? { zh: '对端不接受保持', en: 'The other end refused to be held' } : { zh: '对端没有恢复通话', en: 'The other end did not resume' } }); done(); },
        },
      }).catch((e: unknown) => { this.silence(k, k.line.muted); this.update(k, { words: asApiError(e) }); done(); });
    });
  }

  /** RFC 4733 where it was agreed, else INFO. */
  async key(id: string, key: string) {
    const k = this.kept.get(id);
    if (!k || k.session.state !== SessionState.Established) return;
    if (handler(k.session)?.sendDtmf(key, { duration: 160, interToneGap: 80 })) return;
    await k.session.info({ requestOptions: { body: { contentDisposition: 'render', contentType: 'application/dtmf-relay', content: `Signal=${key}\r\nDuration=160` } } }).catch(() => {});
  }

  /** To a number; the own part of the call ends when the gateway has taken it. */
  async transfer(id: string, number: string) { const to = this.target(number); const k = this.kept.get(id); if (k && to) await this.refer(k, to, number); }
  /** To whom one talks in another call. */
  async join(id: string, other: string) {
    const k = this.kept.get(id), o = this.kept.get(other);
    if (k && o && o.session.state === SessionState.Established) await this.refer(k, o.session, o.line.number);
  }
  private async refer(k: Kept, to: Session | NonNullable<ReturnType<typeof UserAgent.makeURI>>, number: string) {
    if (k.session.state !== SessionState.Established) return;
    this.update(k, { words: { zh: `正在转接到 ${number}…`, en: `Transferring to ${number}…` } });
    try {
      await k.session.refer(to, {
        requestDelegate: { onReject: (r) => this.update(k, { words: transferWords(r.message.statusCode ?? 0, number) }) },
        onNotify: (n) => {
          void n.accept();
          const code = Number(/^SIP\/2\.0 (\d{3})/.exec(n.request.body)?.[1] ?? 0);
          if (code >= 200 && code < 300) { k.ended = { zh: `已转接到 ${number}`, en: `Transferred to ${number}` }; void this.end(k.line.id); } else if (code >= 300) this.update(k, { words: transferWords(code, number) });
        },
      });
    } catch (e) { this.update(k, { words: asApiError(e) }); }
  }
}
