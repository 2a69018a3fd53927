import { useState } from 'react';
import { api } from '../../api/client';
import type { Member, MemberRole } from '../../api/types';
import { useSpeech } from '../../i18n';
import { conferences } from '../../state/live';
import { mine } from '../../state/mine';
import { isOperator, session } from '../../state/session';
import { useStore } from '../../state/store';
import { act, Button, Dialog, Field } from '../../ui/basic';

const ROLES: MemberRole[] = ['chair', 'speaker', 'listener'];

/** What is asked of a member less often: role, a word in private, side rooms, another conference. */
export function MemberDialog({ conference, m, canSteer, onClose }: { conference: string; m: Member; canSteer: boolean; onClose: () => void }) {
  const { t } = useSpeech();
  const all = useStore(conferences);
  const operator = useStore(session, isOperator);
  const own = useStore(mine, (x) => (x?.conference === conference ? x.id : ''));
  const others = [...all.values()].filter((c) => c.id !== conference);
  const members = all.get(conference)?.members ?? [];
  const rooms = [...new Set(members.map((x) => x.side_room).filter((r): r is string => !!r))];
  const me = members.find((x) => x.id === own);
  const [room, setRoom] = useState(m.side_room ?? '');
  const [to, setTo] = useState(others[0]?.id ?? '');
  const done = async (p: Promise<unknown>) => { if ((await act(p.then(() => true)))) onClose(); };
  return (
    <Dialog title={m.name} onClose={onClose}>
      <div className="member-dialog">
        {canSteer && (
          <Field label={t('role.label')} hint={t('role.hint')}>
            <span className="choices">{ROLES.map((r) => <Button key={r} pressed={m.role === r} icon={r === 'chair' ? 'star' : r === 'speaker' ? 'mic' : 'sound'} testId={`role-${r}`} onClick={() => void act(api.patchMember(conference, m.id, { role: r }))}>{t(`role.${r}`)}</Button>)}</span>
          </Field>
        )}
        {me && me.id !== m.id && (
          <Field label={t('member.whisper')}>
            {me.whispers_to === m.id
              ? <Button look="main" icon="whisper" onClick={() => void done(api.side(conference, me.id, {}))}>{t('member.whisper.end')}</Button>
              : <Button icon="whisper" testId="whisper" onClick={() => void done(api.side(conference, me.id, { whisper: m.id }))}>{t('member.whisper.to', { name: m.name })}</Button>}
          </Field>
        )}
        {canSteer && (
          <Field label={t('member.side')} hint={t('member.side.hint')}>
            <span className="choices">
              <input value={room} maxLength={64} list="side-rooms" data-testid="side-room" onChange={(e) => setRoom(e.target.value)} />
              <datalist id="side-rooms">{rooms.map((r) => <option key={r} value={r} />)}</datalist>
              <Button icon="right" testId="side-go" disabled={!room.trim() || room.trim() === m.side_room} onClick={() => void done(api.side(conference, m.id, { room: room.trim() }))}>{t('member.side.go')}</Button>
              {m.side_room && <Button icon="undo" testId="side-back" onClick={() => void done(api.side(conference, m.id, {}))}>{t('member.side.back')}</Button>}
            </span>
          </Field>
        )}
        {operator && (
          <Field label={t('member.move')}>
            {others.length === 0 ? <span className="hint">{t('member.move.none')}</span> : (
              <span className="choices">
                <select value={to} data-testid="move-to" onChange={(e) => setTo(e.target.value)}>{others.map((c) => <option key={c.id} value={c.id}>{c.name}</option>)}</select>
                <Button icon="transfer" testId="move-go" disabled={!to || m.state !== 'connected'} onClick={() => void done(api.moveMember(conference, m.id, to))}>{t('member.move.go')}</Button>
              </span>
            )}
          </Field>
        )}
      </div>
    </Dialog>
  );
}
