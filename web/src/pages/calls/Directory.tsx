import { useCallback, useEffect, useRef, useState } from 'react';
import { api, asApiError, type ApiError } from '../../api/client';
import type { DirectoryEntry } from '../../api/types';
import { useSpeech, type Key } from '../../i18n';
import { go } from '../../route';
import { callNumber, callVia, wayOf } from '../../state/desk';
import { conferences, epoch, onEvent } from '../../state/live';
import { ownPhone } from '../../state/phone';
import { isOperator, session } from '../../state/session';
import { useStore } from '../../state/store';
import { act, Button, confirmOrder, Empty, ErrorLine } from '../../ui/basic';
import { Icon } from '../../ui/Icon';
import { VirtualList } from '../../ui/VirtualList';
import { presenceOf, PRESENCE_CLASS, PRESENCE_SHAPE, type Presence } from './words';

const MOST = 1000;
/** Many changes at once cost one question, ms. */
const TOGETHER = 250;

/** Read anew when a call, a phone or a conference changes. */
function useDirectory(query: string) {
  const [state, set] = useState<{ items: DirectoryEntry[] | null; total: number; error: ApiError | null }>({ items: null, total: 0, error: null });
  const mark = useStore(epoch);
  const run = useRef(0);
  const read = useCallback(async () => {
    const mine = ++run.current;
    try {
      const p = await api.directory({ query: query || undefined, limit: MOST });
      if (mine === run.current) set({ items: p.items, total: p.total, error: null });
    } catch (e) { if (mine === run.current) set((s) => ({ ...s, error: asApiError(e) })); }
  }, [query]);
  useEffect(() => { const timer = setTimeout(() => void read(), query ? 150 : 0); return () => clearTimeout(timer); }, [read, mark, query]);
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const soon = () => { timer ??= setTimeout(() => { timer = undefined; void read(); }, TOGETHER); };
    const off = onEvent((e) => {
      if (e.type === 'calls' || e.type === 'conference' || e.type === 'conference_ended' || e.type === 'member' || e.type === 'member_left' || e.type === 'queues' || e.type === 'call_list' || (e.type === 'device' && e.device.kind === 'phone')) soon();
    });
    return () => { off(); clearTimeout(timer); };
  }, [read]);
  return { ...state, again: read };
}

export function Directory({ onPick }: { onPick: (number: string) => void }) {
  const { t } = useSpeech();
  const [query, setQuery] = useState('');
  const { items, total, error, again } = useDirectory(query.trim());
  const operator = useStore(session, isOperator);
  const phone = useStore(ownPhone);
  const way = wayOf(useStore(callVia), phone.status === 'ready', [...useStore(conferences).values()]);
  const start = async (e: DirectoryEntry) => {
    if (!e.list || !(await confirmOrder(t('lists.start.ask'), t('lists.start.text', { name: e.name, n: e.members }), t('lists.start')))) return;
    if (await act(api.startCallList(e.list))) go('/calls/lists');
  };
  const list = (e: DirectoryEntry, p: Presence) => (
    <div className="who" data-testid={`who-list-${e.list}`} data-presence={p}>
      <button type="button" className="who-name" title={t('calls.tab.lists')} onClick={() => go('/calls/lists')}>
        <span className={`shape ${PRESENCE_CLASS[p]}`} aria-hidden>{PRESENCE_SHAPE[p]}</span>
        <span className="who-text"><b>{e.name}</b><small className={PRESENCE_CLASS[p]}>{t(`who.${p}`)} · {t('lists.count', { n: e.members })}</small></span>
      </button>
      <Button look="quiet" icon="phone" testId={`who-list-${e.list}-start`} disabled={!operator || p === 'running'} title={t('lists.start')} aria-label={`${t('lists.start')}: ${e.name}`} onClick={() => void start(e)} />
    </div>
  );
  const row = (e: DirectoryEntry) => {
    const p = presenceOf(e);
    if (e.kind === 'list') return list(e, p);
    const own = e.kind === 'phone' && e.number === phone.number;
    // A line of waiting callers is for one caller: nobody brings it into a conference.
    const unfit = e.kind === 'queue' && way?.by === 'conference';
    const how = !operator ? t('desk.notAllowed') : !way ? t('desk.via.none') : unfit ? t('desk.call.queue') : way.by === 'own' ? t('desk.call.own', { n: e.number }) : t('desk.call.into', { n: e.number, name: way.name });
    return (
      <div className={`who ${p === 'offline' || p === 'locked' ? 'who-off' : ''}`} data-testid={`who-${e.number}`} data-presence={p}>
        <button type="button" className="who-name" title={t('desk.pick', { n: e.number })} onClick={() => onPick(e.number)} onDoubleClick={() => { if (operator && way && !own && !unfit) void callNumber(e.number); }}>
          <span className={`shape ${PRESENCE_CLASS[p]}`} aria-hidden>{PRESENCE_SHAPE[p]}</span>
          <span className="who-text"><b><span className="num">{e.number}</span> {e.name !== e.number && e.name}{own && <span className="tag">{t('conf.you')}</span>}</b>
            <small className={PRESENCE_CLASS[p]}>{e.kind === 'conference' ? `${t(`who.${p}`)} · ${t('conf.members', { n: e.members })}` : p === 'manned' ? t('who.manned.of', { n: e.members, w: e.waiting }) : e.with ? t(`who.${p}.with` as Key, { n: e.with }) : t(`who.${p}`)}
              {e.forwards?.offline && p === 'offline' && <span className="who-forward"> → {e.forwards.offline}</span>}</small></span>
        </button>
        <Button look="quiet" icon="phone" testId={`who-${e.number}-call`} disabled={!operator || !way || own || unfit} title={how} aria-label={how} onClick={() => void callNumber(e.number)} />
      </div>
    );
  };
  return (
    <section className="directory" aria-label={t('desk.directory')}>
      <div className="side-head"><h2>{t('desk.directory')}</h2><span className="bar-note num">{items ? t('desk.count', { n: total }) : ''}</span></div>
      <div className="search"><Icon name="search" /><input type="search" value={query} placeholder={t('desk.search')} aria-label={t('desk.search')} data-testid="who-search" onChange={(e) => setQuery(e.target.value)} /></div>
      {error && !items ? <div className="pad"><ErrorLine error={error} /><Button icon="refresh" onClick={() => void again()}>{t('again')}</Button></div>
        : items && items.length === 0 ? <Empty title={query ? t('desk.none', { q: query }) : t('desk.empty')} next={t(query ? 'desk.none.next' : 'desk.empty.next')} />
        : <VirtualList aria-label={t('desk.directory')} data-testid="directory" count={items?.length ?? 0} rowRem={3.3} row={(i) => row(items![i]!)} footer={items === null ? <p className="hint pad">{t('loading')}</p> : undefined} />}
    </section>
  );
}
