import { useEffect, useState } from 'react';
import { api } from '../../api/client';
import type { Conference } from '../../api/types';
import { useSpeech } from '../../i18n';
import { go } from '../../route';
import { conferences, connection, jobOf, jobs, put, putConference } from '../../state/live';
import { mine, setMuted, useSteers } from '../../state/mine';
import { unreadThreads } from '../../state/messages';
import { isAdmin, isOperator, session } from '../../state/session';
import { useStore } from '../../state/store';
import { act, Button, confirmOrder, Dialog, Empty, Field } from '../../ui/basic';
import { Icon } from '../../ui/Icon';
import { toggleRecord } from '../../wall/actions';
import { typing } from '../../wall/keys';
import { JoinPanel } from './JoinPanel';
import { MainPicture } from './MainPicture';
import { AddPanel } from './AddPanel';
import { MessagePane } from '../messages/MessagePane';
import { FloorBar } from './FloorBar';
import { Hands } from './Hands';
import { LobbyBar } from './LobbyBar';
import { Members } from './Members';
import { PatchBoard } from './PatchBoard';
import { Templates } from './Templates';

/** Whether the messages stand beside the conference, as this browser had it last. */
const PANE = 'skybridge.conferMessages';
const paneWasOpen = () => { try { return localStorage.getItem(PANE) === 'open'; } catch { return false; } };

export function Confer({ id }: { id: string }) {
  const { t } = useSpeech();
  const all = useStore(conferences);
  const conn = useStore(connection);
  const operator = useStore(session, isOperator);
  const joined = useStore(mine, (m) => m?.conference ?? null);
  const list = [...all.values()].sort((a, b) => (a.started_at ?? '').localeCompare(b.started_at ?? ''));
  const c = all.get(id) ?? (joined ? all.get(joined) : undefined) ?? list[0];
  const [creating, setCreating] = useState(false);
  const plans = id === 'templates';
  const board = id === 'patches' || plans;
  const steers = useSteers(c);
  const [writing, setWriting] = useState(paneWasOpen);
  const toggle = () => { const next = !writing; try { localStorage.setItem(PANE, next ? 'open' : ''); } catch { /* storage forbidden */ } setWriting(next); };

  useEffect(() => {
    const key = (e: KeyboardEvent) => {
      if (typing(e) || e.ctrlKey || e.metaKey || e.altKey) return;
      if (e.key === 'm' || e.key === 'M') { const m = mine.get(); if (m) { e.preventDefault(); setMuted(!m.muted); } }
    };
    window.addEventListener('keydown', key);
    return () => window.removeEventListener('keydown', key);
  }, []);

  return (
    <div className={`page confer ${board ? 'confer-board' : c && writing ? 'confer-wide' : ''}`}>
      <aside className="side side-left">
        <div className="side-head"><h2>{t('conf.list')}</h2>{operator && <Button icon="wait" testId="templates-open" pressed={plans} title={t('tpl.title')} aria-label={t('tpl.title')} onClick={() => go(plans ? '/confer' : '/confer/templates')} />}{operator && <Button icon="patch" testId="patch-board" pressed={id === 'patches'} title={t('patch.title')} aria-label={t('patch.title')} onClick={() => go(id === 'patches' ? '/confer' : '/confer/patches')} />}<Button icon="megaphone" testId="broadcast-open" title={t('bc.title')} aria-label={t('bc.title')} onClick={() => go('/confer/broadcast')} />{operator && <Button icon="plus" testId="conference-new" title={t('conf.new')} aria-label={t('conf.new')} onClick={() => setCreating(true)}>{t('conf.new')}</Button>}</div>
        {list.length === 0 && <Empty title={conn.state === 'open' ? t('conf.none') : t('loading')} next={conn.state === 'open' ? t(operator ? 'conf.none.next' : 'conf.none.viewer') : undefined} />}
        <ul className="conf-list">
          {list.map((x) => (
            <li key={x.id}><button type="button" aria-current={x.id === c?.id && !board ? 'true' : undefined} data-testid={`conference-${x.id}`} onClick={() => go(`/confer/${encodeURIComponent(x.id)}`)}>
              <b>{x.name}</b>
              <span className="num">{x.number && <span>{t('conf.number', { n: x.number })}</span>}<span>{t('conf.members', { n: x.members.filter((m) => m.kind !== 'patch').length })}</span></span>
              <span className="conf-flags">{x.waiting.length > 0 && <span className="conf-waits" data-testid={`conference-${x.id}-waits`}><Icon name="wait" />{t('lobby.waiting', { n: x.waiting.length })}</span>}{x.locked && <span><Icon name="lock" />{t('conf.locked')}</span>}{x.recording && <span><span className="rec-dot" aria-hidden />{t('job.recording')}</span>}{joined === x.id && <span className="s-live"><Icon name="check" />{t('conf.joined')}</span>}</span>
            </button></li>
          ))}
        </ul>
      </aside>
      {plans ? <Templates canSteer={operator} /> : board ? <PatchBoard list={list} canSteer={operator} /> : c ? <Room key={c.id} c={c} writing={writing} onWriting={toggle} /> : <main className="centre"><Empty title={t('conf.pick')} next={t(operator ? 'conf.none.next' : 'conf.none.viewer')} /></main>}
      {c && writing && !board && (
        <aside className="confer-msgs" data-testid="conference-messages" aria-label={t('msg.title')}>
          <div className="side-head"><h2>{t('msg.title')}</h2><Button look="quiet" icon="close" title={t('msg.hide')} aria-label={t('msg.hide')} onClick={toggle} /></div>
          <MessagePane key={c.id} thread={`conference:${c.id}`} tools={operator && c.picture.live ? <Button look="quiet" icon="photo" testId="message-still" title={t('msg.still')} aria-label={t('msg.still')} onClick={() => void act(api.sendStill(`conference:${c.id}`, c.picture.live!))} /> : undefined} />
        </aside>
      )}
      {!board && <aside className="side side-right">{c ? <><JoinPanel c={c} />{steers && <AddPanel c={c} />}</> : null}</aside>}
      {creating && <NewConference onClose={() => setCreating(false)} />}
    </div>
  );
}

function Room({ c, writing, onWriting }: { c: Conference; writing: boolean; onWriting: () => void }) {
  const { t } = useSpeech();
  const news = useStore(unreadThreads, (s) => s.has(`conference:${c.id}`));
  const operator = useStore(session, isOperator);
  const steers = useSteers(c);
  const here = useStore(mine, (m) => (m?.conference === c.id ? m.id : null));
  const allMuted = c.members.some((m) => m.muted_by === 'operator') && c.members.every((m) => m.muted || m.role === 'chair' || m.kind === 'patch' || m.id === here);
  const admin = useStore(session, isAdmin);
  const job = useStore(jobs, (m) => (c.recording ? m.get(c.recording) : undefined) ?? jobOf(m, c.stream));
  const recording = !!(c.recording || job);
  const record = () => {
    if (c.recording) { const r = c.recording; void act(async () => { await api.stopJob(r); const now = conferences.get().get(c.id); if (now) put(conferences, c.id, { ...now, recording: null }); }); } else void toggleRecord(c.stream);
  };
  return (
    <main className="centre">
      <div className="bar">
        <h1 className="bar-title">{c.name}</h1>
        <span className="bar-note num">{c.number ? t('conf.dialIn', { n: c.number }) : ''}{c.pin_set ? ` · ${t('conf.pinSet')}` : ''}</span>
        <Button testId="record-toggle" className={recording ? 'rec-on' : ''} pressed={recording} disabled={!operator} onClick={record}><span className="rec-dot" aria-hidden />{recording ? t('rec.stop') : t('rec.start')}</Button>
        <Button icon="lock" testId="conference-lock" pressed={c.locked} disabled={!steers} title={t('conf.lock.title')} onClick={async () => putConference((await act(api.patchConference(c.id, { locked: !c.locked }))) ?? null)}>{t(c.locked ? 'conf.unlock' : 'conf.lock')}</Button>
        <Button icon="radio" testId="conference-half-duplex" pressed={!!c.floor} disabled={!steers} title={t('floor.mode.title')} onClick={async () => putConference((await act(api.patchConference(c.id, { half_duplex: !c.floor }))) ?? null)}>{t('floor.mode')}</Button>
        <Button icon={allMuted ? 'mic' : 'micOff'} testId="conference-mute-all" pressed={allMuted} disabled={!steers} title={t('conf.muteAll.title')} onClick={() => void act(api.muteAll(c.id, !allMuted, here ? [here] : []))}>{t(allMuted ? 'conf.openAll' : 'conf.muteAll')}</Button>
        <Button icon="message" testId="conference-messages-toggle" pressed={writing} title={t(writing ? 'msg.hide' : 'msg.show')} onClick={onWriting}>{t('msg.title')}{news && <span className="msg-news" aria-label={t('msg.badge', { n: 1 })}>●</span>}</Button>
        {admin && <Button look="danger" icon="hangup" testId="conference-end" onClick={async () => { if (await confirmOrder(t('conf.end.ask'), t('conf.end.text', { name: c.name, n: c.members.length }), t('conf.end'))) void act(api.endConference(c.id)); }}>{t('conf.end')}</Button>}
      </div>
      {c.floor && <FloorBar c={c} floor={c.floor} canSteer={steers} />}
      <LobbyBar c={c} canSteer={steers} />
      <Hands c={c} canSteer={steers} />
      <div className="room"><MainPicture c={c} canTake={steers} /><Members c={c} canSteer={steers} /></div>
    </main>
  );
}

function NewConference({ onClose }: { onClose: () => void }) {
  const { t } = useSpeech();
  const [name, setName] = useState('');
  const [number, setNumber] = useState('');
  const [pin, setPin] = useState('');
  return (
    <Dialog title={t('conf.new.title')} onClose={onClose}>
      <form onSubmit={async (e) => {
        e.preventDefault();
        const c = await act(api.newConference({ name: name.trim(), ...(number ? { number } : {}), ...(pin ? { pin } : {}) }));
        if (c) { putConference(c); onClose(); go(`/confer/${encodeURIComponent(c.id)}`); }
      }}>
        <Field label={t('conf.name')}><input autoFocus required value={name} onChange={(e) => setName(e.target.value)} data-testid="conference-name" /></Field>
        <Field label={t('conf.number.label')} hint={t('conf.number.hint')}><input inputMode="numeric" pattern="[0-9]*" value={number} onChange={(e) => setNumber(e.target.value)} data-testid="conference-number" /></Field>
        <Field label={t('conf.pin')} hint={t('conf.pin.hint')}><input inputMode="numeric" pattern="[0-9]*" value={pin} onChange={(e) => setPin(e.target.value)} /></Field>
        <footer><Button onClick={onClose}>{t('cancel')}</Button><Button type="submit" look="main" testId="conference-create" disabled={!name.trim()}>{t('conf.create')}</Button></footer>
      </form>
    </Dialog>
  );
}
