import { useEffect, useState } from 'react';
import { api, asApiError, type ApiError } from '../../api/client';
import { TRACE_STEPS, type Trace } from '../../api/types';
import { useSpeech } from '../../i18n';
import { streams } from '../../state/live';
import { useStore } from '../../state/store';
import { Icon } from '../../ui/Icon';
import { ErrorLine, FaultBox } from '../../ui/basic';
import { clockMs } from '../../ui/format';

/** Why is there (no) picture: the steps of this stream in order, in words, with times. */
export function TraceList({ stream }: { stream: string }) {
  const { t, pick } = useSpeech();
  const [trace, set] = useState<Trace | null>(null);
  const [error, setError] = useState<ApiError | null>(null);
  const state = useStore(streams, (m) => m.get(stream)?.state);
  useEffect(() => { set(null); setError(null); }, [stream]);
  useEffect(() => {
    const a = new AbortController();
    let timer: ReturnType<typeof setTimeout>;
    const read = () => {
      if (document.visibilityState === 'hidden') { timer = setTimeout(read, 3_000); return; }
      api.trace(stream, a.signal).then((x) => { set(x); setError(null); }, (e) => { if (!a.signal.aborted) setError(asApiError(e)); })
        .finally(() => { if (!a.signal.aborted) timer = setTimeout(read, 2_000); });
    };
    read();
    return () => { a.abort(); clearTimeout(timer); };
  }, [stream, state]);

  if (error?.status === 404) return <p className="hint" data-testid="trace">{t('trace.notWanted')}</p>;
  if (!trace) return <div data-testid="trace">{error ? <ErrorLine error={error} /> : <p className="hint">{t('loading')}</p>}</div>;
  const reached = new Map(trace.steps.map((s) => [s.step, s]));
  const unknown = trace.steps.filter((s) => !TRACE_STEPS.includes(s.step));
  const halted = trace.steps.some((s) => s.outcome === 'failed');
  return (
    <div data-testid="trace" data-state={trace.state}>
      {trace.fault && <FaultBox fault={trace.fault} />}
      {trace.steps.length === 0 && <p className="hint">{t('trace.notWanted')}</p>}
      <ol className="trace">
        {trace.steps.length > 0 && TRACE_STEPS.map((name) => {
          const s = reached.get(name);
          const outcome = s?.outcome ?? 'none';
          return (
            <li key={name} className={`step step-${outcome}`} data-step={name} data-outcome={outcome}>
              <span className="step-mark"><Icon name={outcome === 'ok' ? 'check' : outcome === 'failed' ? 'warn' : 'wait'} /></span>
              <span className="step-text">{s ? pick(s) : t(`step.${name}`)}
                {!s && <em> {t(halted ? 'trace.notReached' : 'trace.notYet')}</em>}
                {s?.outcome === 'waiting' && <em> {t('trace.waiting')}</em>}
                {s?.outcome === 'failed' && <em> {t('trace.failed')}</em>}
                {s?.detail ? <small className="num">{typeof s.detail === 'string' ? s.detail : JSON.stringify(s.detail)}</small> : null}
              </span>
              <span className="step-time num">{s?.elapsed_ms !== null && s?.elapsed_ms !== undefined ? <b title={s.at ? clockMs(s.at) : ''}>{elapsed(s.elapsed_ms)}</b> : ''}{s?.at && <small>{clockMs(s.at)}</small>}</span>
            </li>
          );
        })}
        {unknown.map((s) => <li key={s.step} className={`step step-${s.outcome}`}><span className="step-mark"><Icon name="info" /></span><span className="step-text">{pick(s)}</span></li>)}
      </ol>
      {error && <ErrorLine error={error} />}
    </div>
  );
}
const elapsed = (ms: number) => (ms < 10_000 ? `+${ms} ms` : `+${(ms / 1000).toFixed(1)} s`);
