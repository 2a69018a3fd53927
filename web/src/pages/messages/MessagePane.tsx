import { memo, useCallback, useEffect, useLayoutEffect, useRef, useState, type ReactNode } from 'react';
import { api, asApiError, type ApiError } from '../../api/client';
import type { Message } from '../../api/types';
import { useSpeech } from '../../i18n';
import { epoch, onEvent, serverNow } from '../../state/live';
import { lookAtThread, threadSeen } from '../../state/messages';
import { mine } from '../../state/mine';
import { isOperator, session } from '../../state/session';
import { useStore } from '../../state/store';
import { act, Button, Empty, ErrorLine, problem } from '../../ui/basic';
import { bytes, clock, day, duration } from '../../ui/format';
import { Icon } from '../../ui/Icon';

const PAGE = 50;
const MOST = 4_000;
const MOST_FILE = 20 * 1024 * 1024;
const TAKES = '.jpg,.jpeg,.png,.webp,.pdf,.txt,.mp4,.docx,.xlsx';
/** Ids rise with time. */
const ordered = (list: readonly Message[]) => [...list].sort((a, b) => (a.id < b.id ? -1 : 1));

function useThread(thread: string) {
  const [state, set] = useState<{ items: Message[]; more: boolean; loading: boolean; error: ApiError | null }>({ items: [], more: false, loading: true, error: null });
  const mark = useStore(epoch);
  const now = useRef(state);
  now.current = state;
  const load = useCallback(async (before?: string) => {
    set((s) => ({ ...s, loading: true }));
    try {
      const p = await api.messages({ thread, before, limit: PAGE });
      set((s) => {
        const all = new Map((before ? s.items : []).map((m) => [m.id, m] as const));
        for (const m of p.items) all.set(m.id, m);
        return { items: ordered([...all.values()]), more: p.items.length === PAGE, loading: false, error: null };
      });
    } catch (e) { set((s) => ({ ...s, loading: false, error: asApiError(e) })); }
  }, [thread]);
  useEffect(() => { void load(); }, [load, mark]);
  useEffect(() => onEvent((e) => {
    if (e.type === 'message' && e.message.thread === thread) {
      set((s) => ({ ...s, items: ordered([...s.items.filter((m) => m.id !== e.message.id), e.message]) }));
    } else if (e.type === 'message_removed' && e.thread === thread) set((s) => ({ ...s, items: s.items.filter((m) => m.id !== e.id) }));
  }), [thread]);
  const older = useCallback(() => { const first = now.current.items[0]; if (first && !now.current.loading) void load(first.id); }, [load]);
  return { ...state, older };
}

/** A thread: what was written, and where to write. */
export function MessagePane({ thread, tools }: { thread: string; tools?: ReactNode }) {
  const { t } = useSpeech();
  // A viewer writes into the conference that he is in.
  const member = useStore(mine, (m) => !!m?.id && thread === `conference:${m.conference}`);
  const writes = useStore(session, isOperator) || member;
  const { items, more, loading, error, older } = useThread(thread);
  const box = useRef<HTMLOListElement>(null);
  const bottom = useRef(true);
  const last = items[items.length - 1];
  useEffect(() => lookAtThread(thread), [thread]);
  useEffect(() => { if (last) threadSeen(thread, last.at); }, [thread, last]);
  // Who reads further up is not pulled down by what comes.
  const height = useRef(0);
  useLayoutEffect(() => {
    const b = box.current;
    if (!b) return;
    if (bottom.current) b.scrollTop = b.scrollHeight;
    else if (b.scrollTop < 40) b.scrollTop += b.scrollHeight - height.current;
    height.current = b.scrollHeight;
  }, [items]);
  const readonly = thread.startsWith('between:');
  return (
    <div className="msg-pane" data-testid="message-pane" data-thread={thread}>
      {error && items.length === 0 ? <div className="msg-empty pad"><ErrorLine error={error} /></div>
        : items.length === 0 && !loading ? <div className="msg-empty"><Empty title={t('msg.none')} next={t(writes && !readonly ? 'msg.none.next' : 'msg.none.viewer')} /></div>
          : (
            <ol className="msg-list" ref={box} data-testid="message-list" tabIndex={0} aria-label={t('msg.title')} onScroll={(e) => { const b = e.currentTarget; bottom.current = b.scrollHeight - b.scrollTop - b.clientHeight < 40; }}>
              {more && <li className="msg-older"><Button look="quiet" icon="up" onClick={older}>{t('msg.older')}</Button></li>}
              {items.map((m, i) => <Item key={m.id} m={m} newDay={i === 0 || day(items[i - 1]!.at) !== day(m.at)} onSized={() => { const b = box.current; if (b && bottom.current) b.scrollTop = b.scrollHeight; }} />)}
            </ol>
          )}
      {readonly ? <p className="hint pad">{t('msg.readonly')}</p> : writes ? <Composer key={thread} thread={thread} tools={tools} /> : <p className="hint pad">{t('msg.viewer')}</p>}
    </div>
  );
}

const Item = memo(function Item({ m, newDay, onSized }: { m: Message; newDay: boolean; onSized: () => void }) {
  const { t } = useSpeech();
  const own = useStore(session, (s) => `account:${s.account?.name ?? ''}` === m.sender);
  const image = m.file?.type.startsWith('image/');
  const field = !m.sender.startsWith('account:');
  return (
    <li className={`msg ${own ? 'msg-own' : ''} ${field ? 'msg-field' : ''}`} data-testid="message" data-id={m.id}>
      {newDay && <p className="msg-day num">{day(m.at)}</p>}
      <div className="msg-box">
        <header><Icon name={field ? (m.sender.startsWith('radio:') ? 'radio' : m.sender.startsWith('satphone:') ? 'tiantong' : 'phone') : 'user'} /><b title={m.sender}>{m.name}</b><time className="num">{clock(m.at)}</time></header>
        {m.text && <p className="msg-text">{m.text}</p>}
        {m.file && (image
          ? <a className="msg-image" href={api.messageFileUrl(m.id)} target="_blank" rel="noreferrer" title={m.file.name}><img src={api.messageFileUrl(m.id)} alt={m.file.name} loading="lazy" onLoad={onSized} /></a>
          : <a className="msg-file" href={api.messageFileUrl(m.id)} download={m.file.name} data-testid="message-file"><Icon name="file" /><span><b>{m.file.name}</b><small className="num">{bytes(m.file.bytes)}</small></span><Icon name="download" title={t('msg.file')} /></a>)}
        <Deliveries m={m} />
      </div>
    </li>
  );
});

/** What became of it at the far ends; nothing where it only went to consoles. */
function Deliveries({ m }: { m: Message }) {
  const { t, pick, lang } = useSpeech();
  const of = m.deliveries.length;
  if (of === 0) return null;
  const failed = m.deliveries.filter((d) => d.state === 'failed');
  const waiting = m.deliveries.filter((d) => d.state === 'sent');
  const good = of - failed.length - waiting.length;
  const leaves = waiting.find((d) => d.leaves_at)?.leaves_at;
  return (
    <footer className="msg-state" data-testid="message-state" data-state={failed.length ? 'failed' : waiting.length ? 'sent' : 'delivered'}>
      {good > 0 && <span className="s-live"><Icon name="check" />{of === 1 ? t('msg.delivered') : t('msg.delivered.n', { n: good, of })}</span>}
      {waiting.length > 0 && <span className="s-idle"><Icon name="wait" />{leaves ? t('msg.waits', { d: duration((Date.parse(leaves) - serverNow()) / 1000, lang) }) : t('msg.sent')}</span>}
      {failed.slice(0, 5).map((d) => <span key={d.to} className="warn-text" title={d.fault ? (lang === 'zh' ? d.fault.next_zh : d.fault.next_en) : undefined}><Icon name="warn" />{of === 1 ? `${t('msg.failed')}${d.fault ? ` · ${pick(d.fault)}` : ''}` : t('msg.failed.who', { name: d.name, why: d.fault ? pick(d.fault) : t('msg.failed') })}</span>)}
    </footer>
  );
}

function Composer({ thread, tools }: { thread: string; tools?: ReactNode }) {
  const { t } = useSpeech();
  const [text, setText] = useState('');
  const [file, setFile] = useState<File | null>(null);
  const [busy, setBusy] = useState(false);
  const [over, setOver] = useState(false);
  const chooser = useRef<HTMLInputElement>(null);
  const area = useRef<HTMLTextAreaElement>(null);
  const count = [...text.trim()].length;
  const ready = !busy && count <= MOST && (count > 0 || file !== null);
  const take = (f: File | null | undefined) => {
    if (!f) return;
    if (f.size > MOST_FILE) problem.set({ error: asApiError(new Error(t('msg.tooBig'))), key: Date.now() });
    else setFile(f);
  };
  const send = async () => {
    if (!ready) return;
    setBusy(true);
    const done = await act(file ? api.sendFile(thread, file, text.trim()) : api.sendMessage(thread, text.trim()));
    setBusy(false);
    // What could not be sent stays to be sent again.
    if (done) { setText(''); setFile(null); }
    area.current?.focus();
  };
  // The field grows with what is written, up to a third of the window.
  useLayoutEffect(() => { const a = area.current; if (a) { a.style.height = 'auto'; a.style.height = `${Math.min(a.scrollHeight + 2, innerHeight / 3)}px`; } }, [text]);
  return (
    <form className={`msg-write ${over ? 'msg-over' : ''}`} onSubmit={(e) => { e.preventDefault(); void send(); }}
      onDragOver={(e) => { e.preventDefault(); setOver(true); }} onDragLeave={() => setOver(false)} onDrop={(e) => { e.preventDefault(); setOver(false); take(e.dataTransfer.files[0]); }}>
      {file && <p className="msg-chosen"><Icon name={file.type.startsWith('image/') ? 'photo' : 'file'} /><span>{busy ? t('msg.sending', { name: file.name }) : file.name}</span><small className="num">{bytes(file.size)}</small>{!busy && <Button look="quiet" icon="close" aria-label={t('cancel')} onClick={() => setFile(null)} />}</p>}
      <textarea ref={area} rows={2} value={text} placeholder={over ? t('msg.drop') : t('msg.write')} aria-label={t('msg.write')} data-testid="message-text" onChange={(e) => setText(e.target.value)}
        onPaste={(e) => { const f = e.clipboardData.files[0]; if (f) { e.preventDefault(); take(f); } }}
        onKeyDown={(e) => { if (e.key === 'Enter' && !e.shiftKey && !e.nativeEvent.isComposing) { e.preventDefault(); void send(); } }} />
      <div className="msg-tools">
        <Button look="quiet" icon="clip" title={t('msg.attach')} aria-label={t('msg.attach')} onClick={() => chooser.current?.click()} />
        <input ref={chooser} type="file" hidden accept={TAKES} data-testid="message-file-input" onChange={(e) => { take(e.target.files?.[0]); e.target.value = ''; }} />
        {tools}
        <span className={`num ${count > MOST ? 'warn-text' : 'hint'}`}>{count > MOST ? t('msg.tooLong', { n: count - MOST }) : count > MOST - 500 ? t('msg.left', { n: MOST - count }) : ''}</span>
        <Button type="submit" look="main" icon="send" disabled={!ready} testId="message-send">{t('msg.send')}</Button>
      </div>
    </form>
  );
}
