import { useEffect, useMemo, useRef, useState, type KeyboardEvent } from 'react';
import type { Channel, StreamState } from '../../api/types';
import { useSpeech, type Key } from '../../i18n';
import { branches, key as branchKey, want } from '../../state/branches';
import { streams, walls } from '../../state/live';
import { useStore } from '../../state/store';
import { rowsOf, useDeviceList, type TreeRow } from '../../state/tree';
import { Button, Empty, ErrorLine } from '../../ui/basic';
import { Icon } from '../../ui/Icon';
import { VirtualList } from '../../ui/VirtualList';
import { DRAG_TYPE } from '../../wall/Tile';

interface Props { onPick: (c: Channel) => void; onInfo?: (c: Channel) => void; wall?: string; picked?: string | null; only?: (c: Channel) => boolean; searchRef?: React.RefObject<HTMLInputElement | null>; label: string }

export function ChannelTree({ onPick, onInfo, wall, picked, only, searchRef, label }: Props) {
  const { t } = useSpeech();
  const [query, setQuery] = useState('');
  const [closed, setClosed] = useState<ReadonlySet<string>>(new Set());
  const [active, setActive] = useState(-1);
  const list = useDeviceList(query);
  const [opened, setOpened] = useState<ReadonlySet<string>>(new Set());
  const read = useStore(branches);
  const [rows, stale] = useMemo(() => {
    const old: [string, string, string][] = [];
    return [rowsOf(list.items, closed, query, only, { branches: read, opened, stale: old }), old];
  }, [list.items, closed, query, only, read, opened]);
  useEffect(() => { for (const [device, parent, words] of stale) want(device, parent, words, false); }, [stale]);
  const fold = (id: string, parent: string, open?: boolean) => setOpened((s) => { const k = branchKey(id, parent); const n = new Set(s); if (open ?? !n.has(k)) n.add(k); else n.delete(k); return n; });
  const box = useRef<HTMLDivElement>(null);

  const toggle = (id: string, open?: boolean) => list.items.some((d) => d.id === id && d.tree) && !query ? fold(id, '', open) : setClosed((s) => { const n = new Set(s); if (open ?? n.has(id)) n.delete(id); else n.add(id); return n; });
  const key = (e: KeyboardEvent) => {
    const r = rows[active];
    const move = (i: number) => { setActive(Math.max(0, Math.min(rows.length - 1, i))); e.preventDefault(); };
    switch (e.key) {
      case 'ArrowDown': move(active + 1); break;
      case 'ArrowUp': move(active - 1); break;
      case 'PageDown': move(active + 15); break;
      case 'PageUp': move(active - 15); break;
      case 'Home': move(0); break;
      case 'End': move(rows.length - 1); break;
      case 'ArrowRight': if (r?.kind === 'node') { fold(r.device.id, r.node.id, true); e.preventDefault(); } else if (r?.kind === 'device') { toggle(r.device.id, true); e.preventDefault(); } break;
      case 'ArrowLeft': if (r?.kind === 'node') { fold(r.device.id, r.node.id, false); e.preventDefault(); } else if (r?.kind === 'device' || r?.kind === 'channel') { toggle(r.device.id, false); e.preventDefault(); } break;
      case 'Enter': if (r?.kind === 'channel') { onPick(r.channel); e.preventDefault(); } else if (r?.kind === 'node') { fold(r.device.id, r.node.id); e.preventDefault(); } else if (r?.kind === 'device') { toggle(r.device.id); e.preventDefault(); } break;
      case 'i': if (r?.kind === 'channel') onInfo?.(r.channel); break;
      case 'Escape': (document.activeElement as HTMLElement | null)?.blur(); break;
      default: return;
    }
    e.stopPropagation();
  };
  return (
    <section className="tree" aria-label={label}>
      <div className="search">
        <Icon name="search" />
        <input ref={searchRef} type="search" value={query} placeholder={t('tree.search')} aria-label={t('tree.search')} data-testid="tree-search"
          onChange={(e) => { setQuery(e.target.value); setActive(-1); }}
          onKeyDown={(e) => { if (e.key === 'ArrowDown') { e.preventDefault(); setActive(0); (box.current?.querySelector('.vlist') as HTMLElement | null)?.focus(); } else if (e.key === 'Escape') { setQuery(''); e.currentTarget.blur(); } }} />
      </div>
      <div className="tree-box" ref={box}>
        {list.error && list.items.length === 0 ? <div className="pad"><ErrorLine error={list.error} /><Button icon="refresh" onClick={list.reload}>{t('again')}</Button></div>
          : rows.length === 0 && !list.loading ? (query
            ? <Empty title={t('tree.none', { q: query })} next={t('tree.none.next')} />
            : <Empty title={t('tree.empty')} next={t('tree.empty.next')} />)
          : <VirtualList role="tree" aria-label={label} tabIndex={0} aria-activedescendant={active >= 0 ? `tr-${active}` : undefined} onKeyDown={key} count={rows.length} rowRem={2} active={active} onEnd={(last) => { if (last > rows.length - 40) list.more(last); }}
              row={(i) => <Row row={rows[i]!} i={i} active={i === active} picked={picked ?? null} wall={wall ?? null}
                onClick={() => { setActive(i); const r = rows[i]!; if (r.kind === 'channel') onPick(r.channel); else if (r.kind === 'node') fold(r.device.id, r.node.id); else if (r.kind === 'device') toggle(r.device.id); }} onInfo={onInfo} />} />}
      </div>
      <p className="tree-count num">{list.total !== null ? t('tree.count', { n: list.total }) : t('loading')}{list.loading && list.items.length > 0 ? ` ${t('loading')}` : ''}</p>
    </section>
  );
}

export const stateShape: Record<StreamState | 'offline', string> = { live: '●', starting: '◐', stalled: '▲', failed: '▲', idle: '○', offline: '✕' };
export const stateKey = (s: StreamState | 'offline'): Key => `state.${s}`;

function Row({ row, i, active, picked, wall, onClick, onInfo }: { row: TreeRow; i: number; active: boolean; picked: string | null; wall: string | null; onClick: () => void; onInfo?: (c: Channel) => void }) {
  const { t } = useSpeech();
  const id = row.kind === 'channel' ? row.channel.stream || row.channel.id : '';
  const state = useStore(streams, (m) => (id ? m.get(id)?.state ?? 'idle' : 'idle'));
  const on = useStore(walls, (m) => { const w = wall ? m.get(wall) : undefined; return w && id ? w.tiles.filter((x) => x.n < w.layout && x.source === id).map((x) => x.n + 1).join(' ') : ''; });
  const base = { id: `tr-${i}`, 'aria-selected': active, role: 'treeitem', onClick };
  if (row.kind === 'device') {
    const d = row.device;
    const live = d.channels_online ?? d.channels.filter((c) => c.online).length;
    return (
      <div {...base} aria-expanded={row.open} aria-level={1} className={`row row-device ${active ? 'row-active' : ''} ${d.online ? '' : 'row-off'}`} data-testid={`device-${d.id}`} title={`${d.name}\n${d.id}`}>
        <span className="row-twist"><Icon name={row.open ? 'down' : 'right'} /></span><Icon name={d.kind} /><span className="row-name">{d.name || d.id}</span>
        <span className="row-side num">{d.online ? `${live}/${d.channel_count ?? d.channels.length}` : t('state.offline')}</span>
      </div>
    );
  }
  if (row.kind === 'more') return <More row={row} />;
  const inset = { paddingLeft: `calc(var(--gap) + ${Math.min(row.depth, 12) * 1.1}rem)` };
  if (row.kind === 'node') {
    const n = row.node;
    return (
      <div {...base} aria-expanded={n.children > 0 ? row.open : undefined} aria-level={row.depth + 1} style={inset} className={`row row-device ${active ? 'row-active' : ''}`} data-testid={`node-${n.channel}`} data-kind={n.kind} title={`${n.name}\n${n.id}\n${t(`node.${n.kind}`)}`}>
        <span className="row-twist">{n.children > 0 && <Icon name={row.open ? 'down' : 'right'} />}</span><span className="row-name">{n.name || n.id}</span>
        {n.cameras > 0 && <span className="row-side num">{t('tree.cameras', { on: n.cameras_online, n: n.cameras })}</span>}
      </div>
    );
  }
  const c = row.channel;
  const online = c.online && row.device.online;
  const shown: StreamState | 'offline' = online ? state : state === 'live' ? 'live' : 'offline';
  const name = row.depth === 0 ? row.device.name || c.name || c.id : c.name || c.id;
  return (
    <div {...base} aria-level={row.depth + 1} style={row.device.tree ? inset : undefined} className={`row row-channel depth-${Math.min(row.depth, 1)} ${active ? 'row-active' : ''} ${picked === c.id ? 'row-picked' : ''} ${online ? '' : 'row-off'}`}
      data-testid={`channel-${c.id}`} data-state={shown} title={`${name}\n${row.path ? `${row.path}\n` : ''}${c.id}`} draggable
      onDragStart={(e) => { e.dataTransfer.setData(DRAG_TYPE, JSON.stringify({ stream: id, name })); e.dataTransfer.setData('text/plain', name); e.dataTransfer.effectAllowed = 'copy'; }}>
      <span className={`shape s-${shown}`} aria-hidden>{stateShape[shown]}</span>
      {row.depth === 0 && <Icon name={row.device.kind === 'phone' ? 'phone' : 'camera'} />}
      <span className="row-name">{name}</span>
      {on && <span className="row-on num" title={t('tree.onTile', { n: on })}>{on}</span>}
      {shown !== 'idle' && <span className={`row-side s-${shown}`}>{t(stateKey(shown))}</span>}
      {onInfo && <button type="button" tabIndex={-1} className="row-info" aria-label={t('tree.details', { name })} onClick={(e) => { e.stopPropagation(); onInfo(c); }}><Icon name="info" /></button>}
    </div>
  );
}

/** A line that is not read yet; only what is in view is asked for. */
function More({ row }: { row: Extract<TreeRow, { kind: 'more' }> }) {
  const { t } = useSpeech();
  useEffect(() => {
    const ask = () => want(row.device.id, row.parent, row.query, row.further);
    const first = setTimeout(ask, row.query ? 200 : 0);
    const timer = setInterval(ask, 2_000);
    return () => { clearTimeout(first); clearInterval(timer); };
  }, [row.device.id, row.parent, row.query, row.further]);
  return <div className="row row-off" role="treeitem" aria-selected={false}><span className="row-name">{t('tree.loading')}</span></div>;
}
