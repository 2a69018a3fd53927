import type { ReactNode } from 'react';

// 16 px line icons, drawn here so that nothing is fetched.
const P: Record<string, ReactNode> = {
  camera: <><rect x="1.5" y="4" width="9" height="8" rx="1" /><path d="M10.5 7 14.5 5v6l-4-2" /></>,
  message: <path d="M1.500 3h13v8.500H7l-3.500 3v-3h-2Z" />,
  clip: <path d="M13 7.500 7.700 12.800a3 3 0 0 1-4.300-4.300l5.800-5.800a2 2 0 0 1 2.900 2.900L6.500 11.200a1 1 0 0 1-1.400-1.400L10 5" />,
  link: <path d="M6.500 9.500l3-3M7 4.500l1.700-1.700a3 3 0 0 1 4.300 4.300L11.300 8.800M9 11.500l-1.700 1.700A3 3 0 0 1 3 8.900L4.700 7.200" />,
  send: <path d="M1.500 2.500 14.500 8l-13 5.500 2-5.500ZM3.500 8h6" />,
  file: <><path d="M3.500 1.500h6l3 3v10h-9Z" /><path d="M9.500 1.500v3h3" /></>,
  photo: <><path d="M1.5 4.5h3L6 2.500h4l1.500 2h3v9h-13Z" /><circle cx="8" cy="8.700" r="2.700" /></>,
  nvr: <><rect x="1.5" y="3" width="13" height="4.2" rx="1" /><rect x="1.5" y="8.8" width="13" height="4.2" rx="1" /><path d="M4 5.1h2M4 10.9h2" /></>,
  platform: <path d="M8 2v4M3 14v-4h10v4M8 6v4M1.5 14h3M6.5 14h3M11.5 14h3M8 10v4" />,
  phone: <path d="M4 1.8 6.2 2l.9 3-1.5 1.3a9 9 0 0 0 4 4l1.4-1.5 3 .9.2 2.3c0 1.2-1 2.2-2.300 2.100A11.500 11.500 0 0 1 2 4.100C1.900 2.900 2.800 1.800 4 1.800Z" />,
  browser: <><rect x="1.500" y="2.500" width="13" height="9" rx="1" /><path d="M5 14h6M8 11.500V14" /></>,
  mic: <><rect x="6" y="1.500" width="4" height="8" rx="2" /><path d="M3.500 7.500a4.500 4.500 0 0 0 9 0M8 12v2.500" /></>,
  micOff: <><path d="M10 6.500V3.500a2 2 0 0 0-4-.2M6 6.500v1a2 2 0 0 0 3 1.700M3.500 7.500a4.500 4.500 0 0 0 7 3.700M12.500 7.500a4.400 4.400 0 0 1-.5 2M8 12v2.500M2 1.500l12 13" /></>,
  megaphone: <><path d="M2 6.200v3.600h2L11.500 13V3L4 6.200Z" /><path d="M4.500 10l.8 3.500h2L6.500 11M13.500 6.300a2.500 2.500 0 0 1 0 3.400" /></>,
  sound: <><path d="M2 6v4h2.500L8 13V3L4.500 6Z" /><path d="M10.500 5.500a3.500 3.500 0 0 1 0 5M12.300 3.500a6.300 6.300 0 0 1 0 9" /></>,
  soundOff: <><path d="M2 6v4h2.500L8 13V3L4.500 6Z" /><path d="m11 6 4 4M15 6l-4 4" /></>,
  video: <><rect x="1.500" y="3.500" width="13" height="9" rx="1" /><path d="m6.700 6 3 2-3 2Z" /></>,
  search: <><circle cx="7" cy="7" r="4.500" /><path d="m10.500 10.500 4 4" /></>,
  undo: <path d="M5.500 3 2.500 6l3 3M2.500 6h7a4 4 0 0 1 0 8h-3" />,
  close: <path d="m3.500 3.500 9 9M12.500 3.500l-9 9" />,
  plus: <path d="M8 2.500v11M2.500 8h11" />,
  minus: <path d="M2.500 8h11" />,
  info: <><circle cx="8" cy="8" r="6.300" /><path d="M8 7.300v4M8 4.600v.2" /></>,
  warn: <><path d="M8 1.800 15 14H1Z" /><path d="M8 6.300v4M8 12v.2" /></>,
  check: <path d="m2.500 8.500 3.500 3.500 7.500-8" />,
  wait: <><circle cx="8" cy="8" r="6.300" /><path d="M8 4.300V8l2.500 1.700" /></>,
  lock: <><rect x="3" y="7" width="10" height="7" rx="1" /><path d="M5 7V5a3 3 0 0 1 6 0v2" /></>,
  hand: <path d="M4.500 8.500v-4a1 1 0 0 1 2 0V2.800a1 1 0 0 1 2 0v1a1 1 0 0 1 2 0v1.500a1 1 0 0 1 2 0v4.200c0 3-1.700 5-4.300 5-2.200 0-3.200-.9-4.200-2.700L2.300 8.600a1 1 0 0 1 1.700-1l.5.9M6.500 4.500V8M8.500 3.800V8M10.500 4.500V8" />,
  whisper: <><path d="M2 3.500h9v6H6l-2.500 2.500V9.500H2Z" /><path d="M13 6v5h-1v2l-2-2" strokeDasharray="1.500 1.500" /></>,
  patch: <><circle cx="3.200" cy="8" r="1.700" /><circle cx="12.800" cy="8" r="1.700" /><path d="M4.900 8h6.200M9 5.800 11.100 8 9 10.200M7 5.800 4.900 8 7 10.200" /></>,
  star: <path d="m8 1.800 1.900 4 4.400.6-3.200 3 .8 4.400L8 11.700l-3.900 2.100.8-4.400-3.200-3 4.400-.6Z" />,
  more: <path d="M3 8h.1M8 8h.1M13 8h.1" strokeWidth="2.600" />,
  user: <><circle cx="8" cy="5" r="3" /><path d="M2 14.500c.5-3 3-4.500 6-4.500s5.500 1.500 6 4.500" /></>,
  hangup: <path d="M1.500 9.800C4 6.700 12 6.700 14.500 9.800l-1 2-3-.9V8.600C8.800 8 7.200 8 5.500 8.600v2.300l-3 .9Z" />,
  back: <><path d="M5.500 3.500h9v9h-9L1.500 8Z" /><path d="m8 6.300 3.500 3.500M11.500 6.300 8 9.800" /></>,
  keypad: <path d="M3.500 3.500h.1M8 3.500h.1M12.500 3.500h.1M3.500 8h.1M8 8h.1M12.500 8h.1M3.500 12.500h.1M8 12.500h.1M12.500 12.500h.1" strokeWidth="2.400" />,
  transfer: <path d="M2 5h11M10 2l3 3-3 3M14 11H3M6 8l-3 3 3 3" />,
  download: <path d="M8 2v8M4.500 7 8 10.500 11.500 7M2.500 13.500h11" />,
  play: <path d="M4 2.500 13 8l-9 5.500Z" />,
  pause: <path d="M4.500 3v10M11.500 3v10" strokeWidth="2.400" />,
  trash: <path d="M2.500 4.500h11M6 4.500v-2h4v2M4 4.500l.7 9.500h6.600l.7-9.500M6.700 7v5M9.300 7v5" />,
  up: <path d="m3 10 5-5 5 5" />, down: <path d="m3 6 5 5 5-5" />, left: <path d="m10 3-5 5 5 5" />, right: <path d="m6 3 5 5-5 5" />,
  upleft: <path d="M4 11V4h7M4 4l8 8" />, upright: <path d="M12 11V4H5M12 4l-8 8" />, downleft: <path d="M4 5v7h7M4 12l8-8" />, downright: <path d="M12 5v7H5M12 12 4 4" />,
  full: <path d="M2.500 6V2.500H6M10 2.500h3.500V6M13.500 10v3.500H10M6 13.500H2.500V10" />,
  refresh: <path d="M13.500 8a5.500 5.500 0 1 1-1.700-4M13.500 1.500V4.500h-3" />,
  key: <><circle cx="5" cy="11" r="3" /><path d="m7.200 8.800 6-6M11 5l2 2" /></>,
  edit: <path d="M2.500 13.500v-3l8-8 3 3-8 8ZM9 4l3 3" />,
  lan: <path d="M8 2v5M3 14v-3h10v3M8 7v4" />,
  cellular: <path d="M2 14v-3M5.500 14V8.500M9 14V6M12.500 14V2.500" strokeWidth="2" />,
  vsat: <><path d="M3 4a7 7 0 0 0 9.500 9.500ZM8 8.500 12 4.500" /><circle cx="12.700" cy="3.800" r="1" /></>,
  radio: <><rect x="4.500" y="6" width="7" height="8" rx="1" /><path d="M6 6V1.500M6.500 8.500h3M6.500 10.500h3" /></>,
  tiantong: <><path d="m5.500 7.500 3 3M2.500 6l2-2 3 3-2 2ZM8.500 12l2-2 3 3-2 2Z" transform="rotate(-8 8 8)" /><path d="M10 2.500A4 4 0 0 1 13.500 6" /></>,
};

export type IconName = keyof typeof P | string;
export function Icon({ name, title }: { name: IconName; title?: string }) {
  return (
    <svg className="icon" viewBox="0 0 16 16" width="16" height="16" fill="none" stroke="currentColor" strokeWidth="1.4" strokeLinecap="round" strokeLinejoin="round"
      role={title ? 'img' : undefined} aria-label={title} aria-hidden={title ? undefined : true}>
      {P[name]}
    </svg>
  );
}
