import { useState } from 'react';
import { api } from '../../api/client';
import type { Conference } from '../../api/types';
import { translate, useSpeech } from '../../i18n';
import { conferences, put, say } from '../../state/live';
import { isOperator, session } from '../../state/session';
import { useStore } from '../../state/store';
import { act, Button, Dialog } from '../../ui/basic';
import { ChannelTree } from '../watch/ChannelTree';
import { GuestLinks } from './GuestLinks';
import { LobbyChoice } from './LobbyBar';

export function AddPanel({ c }: { c: Conference }) {
  const { t } = useSpeech();
  const [number, setNumber] = useState('');
  const [choosing, setChoosing] = useState(false);
  const [busy, setBusy] = useState(false);
  const operator = useStore(session, isOperator);
  const [links, setLinks] = useState(false);
  const add = async (m: { channel: string } | { dial: string }) => {
    setBusy(true);
    const r = await act(api.addMember(c.id, m));
    setBusy(false);
    if (!r) return;
    const now = conferences.get().get(c.id);
    if (now && !now.members.some((x) => x.id === r.id)) put(conferences, c.id, { ...now, members: [...now.members, r] });
    if ('dial' in m) setNumber('');
  };
  return (
    <section className="add">
      <h3>{t('add.title')}</h3>
      <form className="dial" onSubmit={(e) => { e.preventDefault(); if (number.trim()) void add({ dial: number.trim() }); }}>
        <input value={number} inputMode="tel" placeholder={t('add.number')} aria-label={t('add.number')} data-testid="dial-number" onChange={(e) => setNumber(e.target.value.replace(/[^0-9*#+A-Za-z@.:-]/g, ''))} />
        <Button type="submit" icon="phone" testId="dial-submit" disabled={busy || !number.trim()}>{t('add.call')}</Button>
      </form>
      <Button icon="link" testId="guest-links" onClick={() => setLinks(true)}>{t('link.open')}</Button>
      <Button icon="camera" testId="add-camera" onClick={() => setChoosing(true)}>{t('add.camera')}</Button>
      {operator && <Button icon="star" testId="template-keep" title={t('tpl.keep.title')} onClick={() => void act(api.keepAsTemplate(c.id, c.name)).then((x) => x && say('info', { zh: translate('zh', 'tpl.kept', { name: x.name }), en: translate('en', 'tpl.kept', { name: x.name }) }))}>{t('tpl.keep')}</Button>}
      <LobbyChoice c={c} />
      {links && <GuestLinks c={c} onClose={() => setLinks(false)} />}
      {choosing && (
        <Dialog title={t('add.camera')} onClose={() => setChoosing(false)} wide>
          <div className="chooser"><ChannelTree label={t('tree.label')} onPick={(ch) => { setChoosing(false); void add({ channel: ch.id }); }} /></div>
        </Dialog>
      )}
    </section>
  );
}
