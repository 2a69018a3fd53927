import { useEffect, useState } from 'react';
import { api } from '../../api/client';
import type { Conference } from '../../api/types';
import { useSpeech } from '../../i18n';
import { putConference, streams } from '../../state/live';
import { useStore } from '../../state/store';
import { useChannel } from '../../state/tree';
import { act, Button, Dialog, useNow } from '../../ui/basic';
import { Icon } from '../../ui/Icon';
import { tileMessage } from '../../wall/message';
import { PictureHost, usePicture } from '../../wall/Picture';
import { DRAG_TYPE } from '../../wall/Tile';
import { ChannelTree } from '../watch/ChannelTree';
import { iconOf } from './memberIcon';

export async function showInConference(c: Conference, source: string | null) { putConference((await act(api.conferencePicture(c.id, source))) ?? null); }

export function MainPicture({ c, canTake }: { c: Conference; canTake: boolean }) {
  const { t, lang } = useSpeech();
  const { host, player } = usePicture(c.picture.program);
  const view = useStore(player.view);
  const source = c.picture.source;
  const stream = useStore(streams, (m) => (source ? m.get(source) ?? null : null));
  // Members' own pictures are no channels.
  const channel = useChannel(source && !/^(browser|phone):/.test(source) ? source : null);
  const member = c.members.find((m) => m.stream === source);
  const name = member?.name || channel?.channel.name || stream?.name || source || '';
  const now = useNow();
  const [choosing, setChoosing] = useState(false);
  useEffect(() => { player.video.dataset.testid = 'conference-picture-video'; player.video.muted = true; }, [player]);
  const m = tileMessage({ source, sourceName: name, live: c.picture.live, since: null, stream, view, canTake: false, now, lang });
  return (
    <section className={`main-picture ${source ? '' : 'tile-empty'}`} data-testid="conference-picture" data-source={source ?? ''}
      onDragOver={(e) => { if (canTake && e.dataTransfer.types.includes(DRAG_TYPE)) e.preventDefault(); }}
      onDrop={(e) => { const raw = e.dataTransfer.getData(DRAG_TYPE); if (raw && canTake) { e.preventDefault(); void showInConference(c, (JSON.parse(raw) as { stream: string }).stream); } }}>
      <PictureHost host={host} hidden={!source} />
      {source && <span className="tile-name"><Icon name={member ? iconOf(member) : 'camera'} /><span>{name}</span></span>}
      {m && <div className={`tile-message tile-message-${m.kind}`} data-testid="conference-picture-message" role="status">{m.kind !== 'empty' && <Icon name={m.kind === 'bad' ? 'warn' : 'wait'} />}<span>{m.kind === 'empty' ? t('conf.picture.none') : m.text}{m.kind === 'empty' ? ` ${t('conf.picture.none.next')}` : m.next && <span className="tile-message-next"> {m.next}</span>}</span></div>}
      {canTake && <span className="main-picture-tools"><Button icon="video" testId="conference-picture-choose" onClick={() => setChoosing(true)}>{t('conf.picture.choose')}</Button>{source && <Button icon="close" title={t('conf.picture.clear')} aria-label={t('conf.picture.clear')} onClick={() => void showInConference(c, null)} />}</span>}
      {choosing && (
        <Dialog title={t('conf.picture.choose')} onClose={() => setChoosing(false)} wide>
          <div className="chooser">
            {c.members.some((x) => x.has_video && x.stream) && <div className="chooser-members"><h3>{t('conf.picture.members')}</h3>{c.members.filter((x) => x.has_video && x.stream).map((x) => <Button key={x.id} icon={iconOf(x)} pressed={x.stream === source} onClick={() => { void showInConference(c, x.stream); setChoosing(false); }}>{x.name}</Button>)}</div>}
            <ChannelTree label={t('tree.label')} only={onlyVideo} picked={source} onPick={(ch) => { void showInConference(c, ch.stream || ch.id); setChoosing(false); }} />
          </div>
        </Dialog>
      )}
    </section>
  );
}
const onlyVideo = (c: { kind: string }) => c.kind === 'video';
