import { useState } from 'react';
import { api } from '../../api/client';
import type { Conference, Levels, Patch } from '../../api/types';
import { useSpeech } from '../../i18n';
import { levels, patches, type Map_ } from '../../state/live';
import { useStore } from '../../state/store';
import { act, Button, Empty, Field } from '../../ui/basic';
import { clock } from '../../ui/format';
import { Icon } from '../../ui/Icon';

const W = 1000, NODE_W = 260, NODE_H = 62;
/** Places on an ellipse, so that no line runs through a third conference. */
function place(n: number, of: number, height: number) {
  const angle = (n / of) * 2 * Math.PI - Math.PI / 2 - (of === 2 ? Math.PI / 2 : 0);
  return { x: W / 2 + (W / 2 - NODE_W / 2 - 12) * Math.cos(angle), y: height / 2 + (height / 2 - NODE_H / 2 - 12) * Math.sin(angle) };
}

/** Which conferences are joined, drawn as lines. */
export function PatchBoard({ list, canSteer }: { list: readonly Conference[]; canSteer: boolean }) {
  const { t } = useSpeech();
  const all = useStore(patches);
  const loud = useStore(levels);
  const [from, setFrom] = useState<string | null>(null);
  const [picked, setPicked] = useState<string | null>(null);
  const [minutes, setMinutes] = useState('');
  const height = Math.min(640, 220 + list.length * 45);
  const at = new Map(list.map((c, i) => [c.id, place(i, list.length, height)] as const));
  const name = (id: string) => list.find((c) => c.id === id)?.name ?? '';
  const patch = all.find((p) => p.id === picked);
  const click = (id: string) => {
    setPicked(null);
    if (!canSteer) return;
    if (!from) return setFrom(id);
    setFrom(null);
    if (from !== id) void act(api.newPatch({ a: from, b: id, ...(Number(minutes) > 0 ? { minutes: Number(minutes) } : {}) })).then((p) => p && setPicked(p.id));
  };
  return (
    <main className="centre patch-board" data-testid="patches">
      <div className="bar"><h1 className="bar-title">{t('patch.title')}</h1><span className="bar-note">{list.length < 2 ? t('patch.none') : from ? t('patch.second', { name: name(from) }) : t('patch.pick')}</span></div>
      {list.length === 0 ? <Empty title={t('patch.none')} /> : (
        <svg viewBox={`0 0 ${W} ${height}`} className="patch-map" role="group" aria-label={t('patch.title')}>
          <defs><marker id="patch-arrow" viewBox="0 0 10 10" refX="8" refY="5" markerWidth="5" markerHeight="5" orient="auto-start-reverse"><path d="M0 0 10 5 0 10Z" /></marker></defs>
          {all.map((p) => { const a = at.get(p.a), b = at.get(p.b); return a && b && <Line key={p.id} p={p} a={a} b={b} talks={talks(p, list, loud)} picked={p.id === picked} words={`${name(p.a)} – ${name(p.b)}`} onPick={() => { setFrom(null); setPicked(p.id === picked ? null : p.id); }} />; })}
          {list.map((c) => { const { x, y } = at.get(c.id)!; return (
            <g key={c.id} className={`patch-node ${from === c.id ? 'patch-from' : ''}`} role="button" tabIndex={0} aria-pressed={from === c.id} aria-label={c.name} data-testid={`patch-node-${c.id}`} transform={`translate(${x - NODE_W / 2} ${y - NODE_H / 2})`}
              onClick={() => click(c.id)} onKeyDown={(e) => { if (e.key === 'Enter' || e.key === ' ') { e.preventDefault(); click(c.id); } }}>
              <rect width={NODE_W} height={NODE_H} rx={4} />
              <text x={12} y={26} className="patch-name">{c.name.length > 18 ? `${c.name.slice(0, 17)}…` : c.name}</text>
              <text x={12} y={48} className="patch-note">{[c.number, t('patch.members', { n: c.members.filter((m) => m.kind !== 'patch').length }), c.floor ? t('floor.mode') : ''].filter(Boolean).join(' · ')}</text>
            </g>
          ); })}
        </svg>
      )}
      <div className="patch-side">
        {canSteer && !patch && <Field label={t('patch.minutes')} hint={t('patch.minutes.hint')}><input inputMode="numeric" value={minutes} data-testid="patch-minutes" onChange={(e) => setMinutes(e.target.value.replace(/\D/g, ''))} /></Field>}
        {patch && (
          <section className="patch-edit" data-testid="patch-edit">
            <h3><Icon name="patch" />{name(patch.a)} – {name(patch.b)}{patch.until && <span className="num">{t('patch.until', { at: clock(patch.until) })}</span>}</h3>
            {([['a_to_b', patch.a, patch.b], ['b_to_a', patch.b, patch.a]] as const).map(([way, x, y]) => (
              <label key={way}><input type="checkbox" checked={patch[way]} disabled={!canSteer} data-testid={`patch-${way}`} onChange={(e) => void act(api.changePatch(patch.id, { [way]: e.target.checked }))} />{t('patch.a_to_b', { a: name(x), b: name(y) })}</label>
            ))}
            {canSteer && <Button look="danger" icon="close" testId="patch-remove" onClick={() => { void act(api.removePatch(patch.id)); setPicked(null); }}>{t('patch.remove')}</Button>}
          </section>
        )}
        <section><h3>{t('patch.list')}</h3>
          {all.length === 0 ? <p className="hint">{t('patch.empty')}</p> : <ul className="patch-list">{all.map((p) => <li key={p.id}><button type="button" aria-current={p.id === picked ? 'true' : undefined} onClick={() => setPicked(p.id)}><span>{name(p.a)} {p.a_to_b && p.b_to_a ? '⇄' : p.a_to_b ? '→' : p.b_to_a ? '←' : '×'} {name(p.b)}</span>{talks(p, list, loud) && <span className="s-talking"><Icon name="sound" />{t('patch.talk')}</span>}{p.until && <span className="num">{t('patch.until', { at: clock(p.until) })}</span>}</button></li>)}</ul>}
        </section>
      </div>
    </main>
  );
}

/** Whether somebody's speech goes through this patch now, by the floor of the conference that it comes to. */
function talks(p: Patch, list: readonly Conference[], loud: Map_<Levels>) {
  return ([[p.a, p.b], [p.b, p.a]] as const).some(([to, from]) => {
    const c = list.find((x) => x.id === to), other = list.find((x) => x.id === from);
    const stands = c?.members.find((m) => m.kind === 'patch' && m.stream?.startsWith(`mix:${other?.id}/`));
    return !!stands && !stands.muted && !!(c?.floor ? c.floor.taken?.member === stands.id : loud.get(to)?.[stands.id]?.[1]);
  });
}

function Line({ p, a, b, talks: on, picked, words, onPick }: { p: Patch; a: { x: number; y: number }; b: { x: number; y: number }; talks: boolean; picked: boolean; words: string; onPick: () => void }) {
  // From edge to edge of the boxes.
  const cut = (s: { x: number; y: number }, e: { x: number; y: number }) => {
    const dx = e.x - s.x, dy = e.y - s.y, k = Math.min((NODE_W / 2 + 8) / Math.max(1e-6, Math.abs(dx)), (NODE_H / 2 + 8) / Math.max(1e-6, Math.abs(dy)));
    return { x: s.x + dx * Math.min(k, 0.5), y: s.y + dy * Math.min(k, 0.5) };
  };
  const s = cut(a, b), e = cut(b, a);
  const at = { x1: s.x, y1: s.y, x2: e.x, y2: e.y };
  return (
    <g className={`patch-line ${on ? 'patch-talks' : ''} ${picked ? 'patch-picked' : ''} ${!p.a_to_b && !p.b_to_a ? 'patch-shut' : ''}`} role="button" tabIndex={0} aria-label={words} data-testid={`patch-line-${p.id}`} data-talks={on} onClick={onPick} onKeyDown={(k) => { if (k.key === 'Enter') onPick(); }}>
      <line {...at} className="patch-touch" /><line {...at} markerEnd={p.a_to_b ? 'url(#patch-arrow)' : undefined} markerStart={p.b_to_a ? 'url(#patch-arrow)' : undefined} />
    </g>
  );
}
