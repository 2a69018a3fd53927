import { useEffect, useState } from 'react';
import { api } from '../../api/client';
import type { Thread } from '../../api/types';
import { useSpeech, type Key } from '../../i18n';
import { go } from '../../route';
import { onEvent } from '../../state/live';
import { unreadThreads } from '../../state/messages';
import { isOperator, session } from '../../state/session';
import { useStore } from '../../state/store';
import { Button, Empty, ErrorLine } from '../../ui/basic';
import { clock, day } from '../../ui/format';
import { Icon } from '../../ui/Icon';
import { useRead } from '../../ui/useRead';
import { MessagePane } from './MessagePane';

const ICONS: Record<string, string> = { conference: 'browser', phone: 'phone', trunk: 'phone', radio: 'radio', satphone: 'tiantong', between: 'transfer' };
const kind = (thread: string) => thread.split(':')[0] ?? '';

/** Every thread, those of far ends too. */
export default function Messages({ thread }: { thread: string }) {
  const { t } = useSpeech();
  const operator = useStore(session, isOperator);
  const unread = useStore(unreadThreads);
  const { value, error, set } = useRead(() => api.threads(), []);
  const [number, setNumber] = useState('');
  useEffect(() => onEvent((e) => {
    if (e.type !== 'message') return;
    const m = e.message;
    set((v) => {
      if (!v) return v;
      const old = v.items.find((x) => x.thread === m.thread);
      // An older message of which something became known does not come to the top.
      if (old && old.last.id > m.id) return v;
      const now: Thread = { thread: m.thread, name: m.thread_name, count: (old?.count ?? 0) + (old?.last.id === m.id ? 0 : 1), last: m };
      return { items: old?.last.id === m.id ? v.items.map((x) => (x.thread === m.thread ? now : x)) : [now, ...v.items.filter((x) => x.thread !== m.thread)] };
    });
  }), [set]);
  const list = value?.items ?? [];
  const chosen = list.find((x) => x.thread === thread);
  const today = day(Date.now());
  return (
    <div className="page messages">
      <aside className="side side-left">
        <div className="side-head"><h2>{t('msg.threads')}</h2></div>
        {operator && (
          <form className="msg-new" onSubmit={(e) => { e.preventDefault(); if (number.trim()) { go(`/messages/${encodeURIComponent(`phone:${number.trim()}`)}`); setNumber(''); } }}>
            <input value={number} inputMode="tel" placeholder={t('msg.to')} aria-label={t('msg.to')} data-testid="message-to" onChange={(e) => setNumber(e.target.value)} />
            <Button type="submit" icon="edit" disabled={!number.trim()} testId="message-to-open">{t('msg.to.open')}</Button>
          </form>
        )}
        <ErrorLine error={value ? null : error} />
        {value && list.length === 0 && <Empty title={t('msg.threads.none')} next={operator ? t('msg.threads.next') : undefined} />}
        <ul className="thread-list" data-testid="threads">
          {list.map((x) => (
            <li key={x.thread}><button type="button" aria-current={x.thread === thread ? 'true' : undefined} data-testid={`thread-${x.thread}`} onClick={() => go(`/messages/${encodeURIComponent(x.thread)}`)}>
              <Icon name={ICONS[kind(x.thread)] ?? 'message'} title={t(`msg.kind.${kind(x.thread)}` as Key)} />
              <span className="thread-name"><b>{x.name}</b><time className="num">{day(x.last.at) === today ? clock(x.last.at) : day(x.last.at)}</time></span>
              <span className="thread-last">{unread.has(x.thread) && <span className="thread-news" aria-label={t('msg.badge', { n: 1 })}>●</span>}<span>{x.last.name}: {x.last.text || x.last.file?.name}</span></span>
            </button></li>
          ))}
        </ul>
      </aside>
      <main className="centre">
        {thread ? <>
          <div className="bar"><h1 className="bar-title">{chosen?.name ?? thread.slice(thread.indexOf(':') + 1)}</h1><span className="bar-note num">{t(`msg.kind.${kind(thread)}` as Key)} {kind(thread) === 'conference' ? '' : thread.slice(thread.indexOf(':') + 1)}</span></div>
          <MessagePane key={thread} thread={thread} />
        </> : <Empty title={t('msg.pick')} />}
      </main>
    </div>
  );
}
