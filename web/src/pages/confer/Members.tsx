import { memo, useEffect, useRef, useState } from 'react';
import { api } from '../../api/client';
import type { Conference, Link, Member, SpeakerWish } from '../../api/types';
import { useSpeech } from '../../i18n';
import { levelToBar } from '../../media/levels';
import { levels, put, conferences, serverNow } from '../../state/live';
import { mine } from '../../state/mine';
import { useStore } from '../../state/store';
import { act, Button, Empty, useNow } from '../../ui/basic';
import { Icon } from '../../ui/Icon';
import { duration, since } from '../../ui/format';
import { SentMeter } from '../../ui/TalkButton';
import { showInConference } from './MainPicture';
import { iconOf } from './memberIcon';
import { MemberDialog } from './MemberDialog';

const LINKS: Link[] = ['lan', 'cellular', 'vsat', 'tiantong', 'radio'];

/** Members by kind of link. */
export function Members({ c, canSteer }: { c: Conference; canSteer: boolean }) {
  const { t } = useSpeech();
  if (c.members.length === 0) return <Empty title={t('conf.empty')} next={t(canSteer ? 'conf.empty.next' : 'conf.empty.viewer')} />;
  return (
    <div className="members">
      {LINKS.map((link) => {
        const list = c.members.filter((m) => (LINKS.includes(m.link) ? m.link : 'lan') === link);
        return list.length === 0 ? null : (
          <section key={link}>
            <h3><Icon name={link} />{t(`link.${link}`)}<span className="num">{list.length}</span></h3>
            <div className="cards">{list.map((m) => <Card key={m.id} conference={c.id} m={m} canSteer={canSteer} shown={!!m.stream && c.picture.source === m.stream} />)}</div>
          </section>
        );
      })}
    </div>
  );
}

const change = (conference: string, m: Member, p: { muted?: boolean; volume_db?: number }) => {
  const c = conferences.get().get(conference);
  if (c) put(conferences, conference, { ...c, members: c.members.map((x) => (x.id === m.id ? { ...x, ...p } : x)) });
  void act(async () => {
    try { await api.patchMember(conference, m.id, p); } catch (e) {
      const now = conferences.get().get(conference);
      if (now) put(conferences, conference, { ...now, members: now.members.map((x) => (x.id === m.id ? { ...x, muted: m.muted, volume_db: m.volume_db } : x)) });
      throw e;
    }
  });
};

const Card = memo(function Card({ conference, m, canSteer, shown }: { conference: string; m: Member; canSteer: boolean; shown: boolean }) {
  const { t, pick } = useSpeech();
  const me = useStore(mine, (x) => !!x && x.id === m.id);
  const talking = useStore(levels, (l) => l.get(conference)?.[m.id]?.[1] ?? m.talking);
  const [more, setMore] = useState(false);
  const person = m.kind === 'browser' || m.kind === 'phone';
  const hears = useStore(conferences, (all) => all.get(conference)?.members.find((x) => x.id === m.whispers_to)?.name ?? '');
  const waiting = m.state !== 'connected';
  const loud = talking && !m.muted && !waiting;
  return (
    <article className={`card ${loud ? 'card-talking' : ''} ${waiting ? 'card-waiting' : ''}`} data-testid={`member-${m.id}`} data-state={m.state} data-muted={m.muted} data-talking={loud}>
      <header>
        <Icon name={iconOf(m)} title={t(`kind.${m.kind}`)} />
        <b className="card-name" title={m.name}>{m.name}</b>
        {me && <span className="tag">{t('conf.you')}</span>}
        <span className={`card-state ${loud ? 's-talking' : m.muted ? 's-offline' : ''}`}>
          {waiting ? <><Icon name="wait" />{t(`member.${m.state}`)}</> : m.muted ? <><Icon name="micOff" />{t('member.muted')}</> : loud ? <><Icon name="sound" />{t('member.talking')}</> : t('member.quiet')}
        </span>
      </header>
      {(m.role !== 'speaker' || m.guest || m.hand_at || m.side_room || m.whispers_to) && (
        <p className="card-aside">
          {m.guest && <span className="tag"><Icon name="link" />{t('member.guest')}</span>}
          {m.role !== 'speaker' && <span className="tag" data-testid={`member-${m.id}-role`}>{m.role === 'chair' && <Icon name="star" />}{t(`role.${m.role}`)}</span>}
          {m.hand_at && <span className="tag hand-tag"><Icon name="hand" />{t('hand.is')}</span>}
          {m.side_room && <span className="tag" data-testid={`member-${m.id}-side`}><Icon name="patch" />{m.side_room}</span>}
          {m.whispers_to && <span className="tag"><Icon name="whisper" />{hears ? t('member.whisper.on', { name: hears }) : t('member.whisper.gone')}</span>}
        </p>
      )}
      <Meter conference={conference} member={m.id} muted={m.muted} />
      <div className="card-tools">
        <Button icon={m.muted ? 'micOff' : 'mic'} testId={`member-${m.id}-mute`} pressed={m.muted} disabled={!canSteer || m.kind === 'patch'} title={t(m.muted ? 'member.unmute' : 'member.mute')} aria-label={t(m.muted ? 'member.unmute' : 'member.mute')} onClick={() => change(conference, m, { muted: !m.muted })} />
        <Volume m={m} disabled={!canSteer} onChange={(volume_db) => change(conference, m, { volume_db })} />
      </div>
      {m.kind === 'channel' && m.stream?.startsWith('gb28181:') && <Speaker conference={conference} m={m} canSteer={canSteer} />}
      <footer className="num">
        {m.fault ?? m.picture?.fault ? <span className="warn-text"><Icon name="warn" /> {pick((m.fault ?? m.picture?.fault)!)}</span> : m.state === 'connected' || m.state === 'held' ? <Link_ m={m} /> : <span />}
        {m.has_video && m.stream && <Button look="quiet" icon="video" testId={`member-${m.id}-show`} pressed={shown} disabled={!canSteer} title={t('member.show')} aria-label={t('member.show')} onClick={() => { const c = conferences.get().get(conference); if (c) void showInConference(c, shown ? null : m.stream); }} />}
        {person && <Button look="quiet" icon="more" testId={`member-${m.id}-more`} title={t('member.more')} aria-label={t('member.more')} onClick={() => setMore(true)} />}
        <Button look="quiet" icon={person ? 'hangup' : 'close'} testId={`member-${m.id}-remove`} disabled={!canSteer} title={t(m.kind === 'phone' ? 'member.hangUp' : 'member.remove')} aria-label={t(m.kind === 'phone' ? 'member.hangUp' : 'member.remove')} onClick={() => void act(api.removeMember(conference, m.id))} />
      </footer>
      {more && <MemberDialog conference={conference} m={m} canSteer={canSteer} onClose={() => setMore(false)} />}
    </article>
  );
});

const WISHES: SpeakerWish[] = ['device', 'half', 'full'];
/** The camera's loudspeaker says what the conference hears. */
function Speaker({ conference, m, canSteer }: { conference: string; m: Member; canSteer: boolean }) {
  const { t, pick } = useSpeech();
  const s = m.loudspeaker ?? null;
  const order = (p: { loudspeaker?: boolean; duplex?: SpeakerWish }) => void act(api.patchMember(conference, m.id, p));
  return (
    <div className="card-speaker" data-testid={`member-${m.id}-speaker`} data-state={s?.state ?? 'off'}>
      <Button icon={s ? 'sound' : 'soundOff'} testId={`member-${m.id}-speaker-toggle`} pressed={!!s} disabled={!canSteer} title={t(s ? 'talk.speaker.off' : 'talk.speaker.on')} onClick={() => order({ loudspeaker: !s })}>{t('talk.speaker')}</Button>
      {s && <select value={s.duplex} disabled={!canSteer} aria-label={t('talk.duplex')} title={t('talk.duplex')} data-testid={`member-${m.id}-duplex`} onChange={(e) => order({ duplex: e.target.value as SpeakerWish })}>{WISHES.map((w) => <option key={w} value={w}>{t(`talk.duplex.${w}`)}</option>)}</select>}
      {s && <span className={s.state === 'on_air' ? 's-live' : ''} title={s.way}>{t(`talk.state.${s.state}`)}</span>}
      {s?.state === 'on_air' && m.stream && <SentMeter channels={[m.stream]} testId={`member-${m.id}-sent`} />}
      {s?.fault && s.state !== 'on_air' && <p className="warn-text"><Icon name="warn" /> {pick(s.fault)}</p>}
    </div>
  );
}

const whole = (s: number) => (s < 60 ? s : Math.floor(s / 60) * 60);
function Link_({ m }: { m: Member }) {
  const { t, lang } = useSpeech();
  useNow();
  const picture = m.picture && m.picture.state !== 'live' && m.picture.state !== 'none' ? t(`member.picture.${m.picture.state}`) : '';
  const parts = [picture, m.codec, m.loss_percent > 0.05 ? t('member.loss', { n: m.loss_percent.toFixed(1) }) : '', m.jitter_ms > 0 ? t('member.jitter', { n: Math.round(m.jitter_ms) }) : '', m.joined_at ? duration(whole(since(m.joined_at, serverNow())), lang) : ''].filter(Boolean);
  return <span>{parts.join(' · ')}</span>;
}

/** Drawn past React: five changes a second for every member must cost nothing. */
function Meter({ conference, member, muted }: { conference: string; member: string; muted: boolean }) {
  const { t } = useSpeech();
  const bar = useRef<HTMLSpanElement>(null);
  useEffect(() => {
    let last = -1; // the bar may stand from before
    let fall: ReturnType<typeof setTimeout> | undefined;
    const draw = () => {
      const l = levels.get().get(conference)?.[member];
      const v = muted || !l ? 0 : levelToBar(l[0]);
      if (Math.abs(v - last) > 0.004 && bar.current) { bar.current.style.transform = `scaleX(${v})`; last = v; }
      clearTimeout(fall); // levels come only while anyone talks
      fall = setTimeout(() => { if (bar.current) bar.current.style.transform = 'scaleX(0)'; last = 0; }, 700);
    };
    draw();
    const off = levels.subscribe(draw);
    return () => { off(); clearTimeout(fall); };
  }, [conference, member, muted]);
  return <div className="meter" role="img" aria-label={t('member.level')}><span ref={bar} /></div>;
}

function Volume({ m, disabled, onChange }: { m: Member; disabled: boolean; onChange: (db: number) => void }) {
  const { t } = useSpeech();
  const [v, set] = useState(m.volume_db);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  useEffect(() => set(m.volume_db), [m.volume_db]);
  return (
    <label className="volume" title={t('member.volume')}>
      <Icon name="sound" />
      <input type="range" min={-30} max={12} step={1} value={v} disabled={disabled} aria-label={t('member.volume')} data-testid={`member-${m.id}-volume`}
        onChange={(e) => { const db = Number(e.target.value); set(db); clearTimeout(timer.current); timer.current = setTimeout(() => onChange(db), 120); }} onDoubleClick={() => { set(0); onChange(0); }} />
      <span className="num">{v > 0 ? '+' : v < 0 ? '−' : ''}{Math.abs(v)} dB</span>
    </label>
  );
}
