import { useEffect, useState } from 'react';
import { api, asApiError, type ApiError } from '../../api/client';
import type { Capture } from '../../api/types';
import { useSpeech } from '../../i18n';
import { serverNow } from '../../state/live';
import { Button, ErrorLine, useNow } from '../../ui/basic';
import { bytes } from '../../ui/format';

/** Captures signalling and media of a stream for a minute, and gives the file. One button beside the trace. */
export function CaptureButton({ stream }: { stream: string }) {
  const { t } = useSpeech();
  const [capture, set] = useState<Capture | null>(null);
  const [error, setError] = useState<ApiError | null>(null);
  useNow();
  // A capture that runs already, of whoever began it, is taken up.
  useEffect(() => {
    let here = true;
    set(null);
    setError(null);
    api.captures().then((x) => { if (here) set(x.items.find((c) => c.stream === stream && c.running) ?? null); }, () => {});
    return () => { here = false; };
  }, [stream]);
  const running = capture?.running ? capture.id : null;
  useEffect(() => {
    if (!running) return;
    const a = new AbortController();
    const timer = setInterval(() => { api.capture(running, a.signal).then(set, (e) => { if (!a.signal.aborted) setError(asApiError(e)); }); }, 1_000);
    return () => { a.abort(); clearInterval(timer); };
  }, [running]);

  const begin = async () => {
    setError(null);
    try { set(await api.startCapture(stream)); } catch (e) { setError(asApiError(e)); }
  };
  const end = async () => {
    setError(null);
    try { if (running) { await api.stopCapture(running); set(await api.capture(running)); } } catch (e) { setError(asApiError(e)); }
  };
  const left = capture ? Math.max(0, Math.round((Date.parse(capture.until) - serverNow()) / 1000)) : 0;
  return (
    <div className="capture" data-testid="capture" data-state={running ? 'running' : capture ? 'done' : 'none'}>
      <Button testId="capture-toggle" pressed={!!running} title={t('diag.capture.title')} onClick={() => void (running ? end() : begin())}>
        {running ? t('diag.capture.stop', { s: left }) : t('diag.capture')}
      </Button>
      {capture && <span className="num" data-testid="capture-facts">{t('diag.capture.facts', { m: capture.messages, p: capture.packets, b: bytes(capture.bytes) })}
        {capture.dropped > 0 ? ` ${t('diag.capture.dropped', { n: capture.dropped })}` : ''}</span>}
      {capture && !running && <a className="btn btn-plain" data-testid="capture-download" href={api.captureUrl(capture.id)} download>{t('diag.capture.download')}</a>}
      {capture && !running && <small>{t('diag.capture.note')}</small>}
      {error && <ErrorLine error={error} />}
    </div>
  );
}
