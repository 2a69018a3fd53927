import { useSpeech } from '../../i18n';
import { ownTalk, talkGroup, toggleGroup } from '../../state/talk';
import { useStore } from '../../state/store';
import { Button } from '../../ui/basic';
import { SentMeter, TalkButton } from '../../ui/TalkButton';

/** Talk to many: the channels chosen, one button, one result each. */
export function TalkGroup() {
  const { t, pick } = useSpeech();
  const group = useStore(talkGroup);
  const own = useStore(ownTalk);
  if (group.size === 0) return null;
  const channels = [...group.keys()];
  return (
    <section className="talk-group" data-testid="talk-group" aria-label={t('talk.group')}>
      <h3>{t('talk.group')}<span className="num">{group.size}</span><Button look="quiet" icon="close" testId="talk-group-clear" title={t('talk.group.clear')} aria-label={t('talk.group.clear')} onClick={() => talkGroup.set(new Map())} /></h3>
      <ul>{channels.map((c) => {
        const target = own?.view?.targets.find((x) => x.channel === c);
        return (
          <li key={c} data-testid={`talk-target-${c}`} data-state={target?.state ?? ''}>
            <span className="row-name" title={c}>{group.get(c)}</span>
            {target && <span className={target.state === 'on_air' ? 's-live' : target.state === 'failed' ? 'warn-text' : ''} title={target.fault ? pick(target.fault) : target.way}>{t(`talk.state.${target.state}`)}</span>}
            {target?.state === 'on_air' && <SentMeter channels={[c]} />}
            <Button look="quiet" icon="close" title={t('talk.group.remove')} aria-label={t('talk.group.remove')} onClick={() => toggleGroup(c)} />
          </li>
        );
      })}</ul>
      <TalkButton channels={channels} testId="talk-all" />
    </section>
  );
}
