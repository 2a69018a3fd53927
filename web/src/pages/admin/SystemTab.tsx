import { useSpeech } from '../../i18n';
import { jobs, serverNow, streams, system } from '../../state/live';
import { useStore } from '../../state/store';
import { useNow } from '../../ui/basic';
import { bitRate, bytes, dateTime, duration, since } from '../../ui/format';
import { Table } from '../../ui/Table';
import { stateKey, stateShape } from '../watch/ChannelTree';

export function SystemTab() {
  const { t, lang, pick } = useSpeech();
  const s = useStore(system);
  const all = useStore(streams);
  const running = useStore(jobs);
  useNow();
  const facts: [string, string][] = s ? [
    [t('system.version'), s.version], [t('system.up'), `${duration(since(s.started_at, serverNow()), lang)} (${dateTime(s.started_at)})`], [t('res.cpu'), `${s.cpu_percent.toFixed(1)}%`], [t('system.memory'), bytes(s.memory_bytes)],
    [t('system.disk'), `${bytes(s.disk_free_bytes)} / ${bytes(s.disk_total_bytes)}`], [t('res.devices'), `${s.devices_online} / ${s.devices_total}`], [t('res.streams'), String(s.streams_live)], [t('res.viewers'), String(s.viewers)], [t('system.calls'), String(s.calls)], [t('res.recording'), String(s.recordings_running)],
  ] : [];
  return (
    <>
      <div className="bar"><h1 className="bar-title">{t('admin.system')}</h1></div>
      <div className="scroll">
        <dl className="numbers num">{facts.map(([k, v]) => <div key={k}><dt>{k}</dt><dd>{v}</dd></div>)}</dl>
        <h3>{t('system.streams')}</h3>
        <Table rows={[...all.values()]} id={(x) => x.id} empty={t('system.noStreams')} next={t('system.noStreams.next')} columns={[
          { key: 's', title: t('device.state'), cell: (x) => <span className={`s-${x.state}`}>{stateShape[x.state]} {t(stateKey(x.state))}</span> }, { key: 'n', title: t('device.name'), cell: (x) => <><b>{x.name || x.id}</b></> },
          { key: 't', title: t('system.tracks'), cell: (x) => x.tracks.map((k) => `${k.codec}${k.width ? ` ${k.width}×${k.height}` : ''}`).join(', ') || '–', num: true }, { key: 'r', title: t('facts.rate'), cell: (x) => (x.bit_rate_bps > 0 ? bitRate(x.bit_rate_bps) : '–'), num: true },
          { key: 'v', title: t('facts.viewers'), cell: (x) => x.viewers, num: true }, { key: 'f', title: t('system.fault'), cell: (x) => (x.fault ? <span className="warn-text">{pick(x.fault)}</span> : ''), wrap: true },
        ]} />
        <h3>{t('system.jobs')}</h3>
        <Table rows={[...running.values()]} id={(x) => x.id} empty={t('system.noJobs')} next={t('system.noJobs.next')} columns={[
          { key: 'n', title: t('device.name'), cell: (x) => <b>{x.name || x.stream}</b> }, { key: 'c', title: t('system.cause'), cell: (x) => t(`cause.${x.cause}`) }, { key: 's', title: t('device.state'), cell: (x) => <span className={x.state === 'failed' ? 'warn-text' : ''}>{t(`job.${x.state}`)}{x.fault ? ` ${pick(x.fault)}` : ''}</span>, wrap: true },
          { key: 'd', title: t('system.since'), cell: (x) => duration(since(x.since, serverNow()), lang), num: true }, { key: 'b', title: t('system.bytes'), cell: (x) => bytes(x.bytes), num: true },
        ]} />
      </div>
    </>
  );
}
