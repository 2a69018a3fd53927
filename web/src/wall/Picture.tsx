import { useEffect, useRef, type ReactNode } from 'react';
import { Player, playerOf } from './player';

const UNSEEN_MS = 20_000;

/** Shows a program's player here; puts it to sleep when it has not been seen for a while. */
export function usePicture(stream: string, opts: { keepAwake?: boolean } = {}): { host: React.RefObject<HTMLDivElement | null>; player: Player } {
  const host = useRef<HTMLDivElement>(null);
  const player = playerOf(stream);
  const { keepAwake = false } = opts;
  useEffect(() => {
    const h = host.current!;
    player.attach(h);
    let timer: ReturnType<typeof setTimeout> | undefined;
    let onScreen = true;
    const judge = () => {
      const seen = onScreen && document.visibilityState === 'visible';
      clearTimeout(timer);
      if (seen) player.wake(); else if (!keepAwake) timer = setTimeout(() => player.sleep(), UNSEEN_MS);
    };
    const io = new IntersectionObserver((list) => { onScreen = list[list.length - 1]!.isIntersecting; judge(); });
    io.observe(h);
    document.addEventListener('visibilitychange', judge);
    return () => { clearTimeout(timer); io.disconnect(); document.removeEventListener('visibilitychange', judge); player.detach(h); };
  }, [player, keepAwake]);
  return { host, player };
}

export function PictureHost({ host, children, ...rest }: { host: React.RefObject<HTMLDivElement | null>; children?: ReactNode } & React.HTMLAttributes<HTMLDivElement>) {
  return <div {...rest} ref={host} className="picture-host">{children}</div>;
}
