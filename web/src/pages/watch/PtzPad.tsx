import { useEffect, useMemo, useRef, useState, type KeyboardEvent, type PointerEvent } from 'react';
import { api } from '../../api/client';
import { orderTo } from '../../api/control';
import { useSpeech, type Key } from '../../i18n';
import { PtzControl } from '../../media/ptz';
import { useHeld } from '../../state/lease';
import { Icon } from '../../ui/Icon';
import { act, Button } from '../../ui/basic';
import { Presets } from './Presets';

const PAD: [string, number, number, Key][] = [
  ['upleft', -1, 1, 'ptz.upleft'], ['up', 0, 1, 'ptz.up'], ['upright', 1, 1, 'ptz.upright'],
  ['left', -1, 0, 'ptz.left'], ['', 0, 0, 'ptz.stop'], ['right', 1, 0, 'ptz.right'],
  ['downleft', -1, -1, 'ptz.downleft'], ['down', 0, -1, 'ptz.down'], ['downright', 1, -1, 'ptz.downright'],
];
const KEYS: Record<string, [number, number, number]> = { ArrowLeft: [-1, 0, 0], ArrowRight: [1, 0, 0], ArrowUp: [0, 1, 0], ArrowDown: [0, -1, 0], '+': [0, 0, 1], '=': [0, 0, 1], '-': [0, 0, -1], _: [0, 0, -1] };
/** Focus and iris: name, focus, iris, key. */
const LENS: [string, number, number, Key, string][] = [['near', -1, 0, 'ptz.near', '['], ['far', 1, 0, 'ptz.far', ']'], ['close', 0, -1, 'ptz.close', ','], ['open', 0, 1, 'ptz.open', '.']];

/** Moves while held; stops on release, on leaving, on losing the focus, on hiding the page, and when somebody takes the camera. */
export function PtzPad({ channel }: { channel: string }) {
  const { t } = useSpeech();
  const [speed, setSpeed] = useState(0.5);
  const [held, setHeld] = useState('');
  const lease = useHeld(channel);
  const failed = (e: unknown) => { setHeld(''); void act(Promise.reject(e)); };
  const ctl = useMemo(() => new PtzControl((m) => api.ptz(channel, m.pan, m.tilt, m.zoom, true), failed), [channel]);
  const lens = useMemo(() => new PtzControl(async (m) => { await orderTo({ channel }, { do: 'lens', focus: m.pan, iris: m.tilt }); }, failed), [channel]);
  const down = useMemo(() => new Map<string, [number, number, number]>(), [ctl]);

  const endAll = () => { down.clear(); setHeld(''); ctl.stop(); lens.stop(); };
  const endNow = useRef(endAll);
  endNow.current = endAll;
  useEffect(() => {
    const end = () => endNow.current();
    const hidden = () => { if (document.visibilityState === 'hidden') end(); };
    window.addEventListener('blur', end); window.addEventListener('pagehide', end); document.addEventListener('visibilitychange', hidden);
    return () => { window.removeEventListener('blur', end); window.removeEventListener('pagehide', end); document.removeEventListener('visibilitychange', hidden); ctl.stop(); lens.stop(); };
  }, [ctl, lens]);
  // Taken over: what this console repeats would only be refused.
  useEffect(() => { if (lease.others) endNow.current(); }, [lease.others]);

  const go = (name: string, pan: number, tilt: number, zoom: number) => { setHeld(name); ctl.move({ pan: pan * speed, tilt: tilt * speed, zoom: zoom * speed }); };
  const adjust = (name: string, focus: number, iris: number) => { setHeld(name); lens.move({ pan: focus * speed, tilt: iris * speed, zoom: 0 }); };
  const end = () => { setHeld(''); ctl.stop(); lens.stop(); };
  const hold = (name: string, start: () => void) => ({
    onPointerDown: (e: PointerEvent<HTMLButtonElement>) => { if (e.button !== 0) return; e.currentTarget.setPointerCapture(e.pointerId); start(); },
    onPointerUp: end, onPointerCancel: end, onLostPointerCapture: end, onContextMenu: (e: { preventDefault: () => void }) => e.preventDefault(),
    className: `ptz-btn ${held === name ? 'held' : ''}`,
  });
  const sum = () => {
    let p = 0, ti = 0, z = 0;
    for (const [a, b, c] of down.values()) { p += a; ti += b; z += c; }
    if (down.size === 0 || (!p && !ti && !z)) end(); else go('keys', Math.sign(p), Math.sign(ti), Math.sign(z));
  };
  const typing = (e: KeyboardEvent) => e.target instanceof HTMLElement && !!e.target.closest('input, select, textarea, dialog');
  const keyDown = (e: KeyboardEvent) => {
    if (typing(e)) return;
    const m = KEYS[e.key];
    const l = LENS.find(([, , , , k]) => k === e.key);
    if (!m && !l) return;
    e.preventDefault(); e.stopPropagation();
    if (e.repeat) return;
    if (m) { down.set(e.code, m); sum(); } else if (l) { down.set(e.code, [0, 0, 0]); adjust(l[0], l[1], l[2]); }
  };
  const keyUp = (e: KeyboardEvent) => { if (down.delete(e.code)) { e.preventDefault(); e.stopPropagation(); sum(); } };
  return (
    <section className="ptz" data-testid="ptz" tabIndex={0} aria-label={t('ptz.title')} onKeyDown={keyDown} onKeyUp={keyUp} onBlur={() => { if (down.size) { down.clear(); end(); } }}>
      <h3>{t('ptz.title')}</h3>
      <p className={`ptz-holder ${lease.others ? 'warn-text' : ''}`} data-testid="ptz-holder" data-holder={lease.holder?.account ?? ''} data-mine={lease.mine}>
        <Icon name={lease.others ? 'lock' : 'user'} />
        <span>{lease.holder ? t(lease.mine ? 'ptz.holder.you' : 'ptz.holder', { name: lease.holder.account }) : t('ptz.holder.none')}</span>
        {lease.mine && <Button look="quiet" testId="ptz-release" onClick={() => void act(api.giveBack(channel))}>{t('ptz.release')}</Button>}
      </p>
      <div className="ptz-row">
        <div className="ptz-pad">
          {PAD.map(([icon, p, ti, label]) => icon
            ? <button key={label} type="button" tabIndex={-1} aria-label={t(label)} title={t(label)} data-testid={`ptz-${icon}`} {...hold(icon, () => go(icon, p, ti, 0))}><Icon name={icon} /></button>
            : <button key={label} type="button" tabIndex={-1} className="ptz-btn ptz-stop" aria-label={t(label)} title={t(label)} data-testid="ptz-stop" onClick={end}>■</button>)}
        </div>
        <div className="ptz-zoom">
          <button type="button" tabIndex={-1} aria-label={t('ptz.in')} title={t('ptz.in')} data-testid="ptz-in" {...hold('in', () => go('in', 0, 0, 1))}><Icon name="plus" /></button>
          <span>{t('ptz.zoom')}</span>
          <button type="button" tabIndex={-1} aria-label={t('ptz.out')} title={t('ptz.out')} data-testid="ptz-out" {...hold('out', () => go('out', 0, 0, -1))}><Icon name="minus" /></button>
        </div>
        <div className="ptz-lens">
          {LENS.map(([name, f, i, label, k]) => <button key={name} type="button" tabIndex={-1} aria-label={t(label)} title={`${t(label)} (${k})`} data-testid={`ptz-${name}`} {...hold(name, () => adjust(name, f, i))}>{t(label)}</button>)}
        </div>
      </div>
      <label className="slider"><span>{t('ptz.speed')}</span><input type="range" min="0.1" max="1" step="0.1" value={speed} data-testid="ptz-speed" onChange={(e) => setSpeed(Number(e.target.value))} /><span className="num">{Math.round(speed * 100)}%</span></label>
      <p className="hint">{t(held ? 'ptz.moving' : 'ptz.hint')}</p>
      <Presets channel={channel} />
    </section>
  );
}
