// Orders and questions to cameras and devices, by hand from docs/ref/api.md, part "Orders and questions".
import { api, ApiError } from './client';
import type { Role } from './types';

export interface Holder { account: string; session: string; role: Role; priority: number; since: string; until: string }
export interface Lease { channel: string; holder: Holder }

export interface VideoStream { stream: number; format: string; resolution: string; frame_rate: string; bit_rate_type: string; bit_rate: string }
export interface OsdLine { text: string; x: number; y: number }
export type Setting =
  | { kind: 'basic'; name?: string | null; expiration_s?: number | null; heartbeat_interval_s?: number | null; heartbeat_count?: number | null }
  | { kind: 'video_options'; download_speeds: string; resolutions: string }
  | { kind: 'video_parameters'; streams: VideoStream[] }
  | { kind: 'record_plan'; enabled: boolean; days: { weekday: number; spans: { from: string; to: string }[] }[]; stream?: number | null }
  | { kind: 'alarm_record'; enabled: boolean; after_s?: number | null; before_s?: number | null; stream?: number | null }
  | { kind: 'picture_mask'; enabled: boolean; regions: { number: number; left: number; top: number; right: number; bottom: number }[] }
  | { kind: 'frame_mirror'; mirror: Mirror }
  | { kind: 'alarm_report'; motion: boolean; field: boolean }
  | { kind: 'osd'; width: number; height: number; time_x?: number | null; time_y?: number | null; time?: boolean | null; time_type?: number | null; text?: boolean | null; lines: OsdLine[] }
  | { kind: 'snapshot'; count: number; interval_s?: number | null; upload_url: string; session: string };
export type Mirror = 'none' | 'horizontal' | 'vertical' | 'both';
export type SettingKind = Setting['kind'];

export type Order =
  | { do: 'lens'; focus: number; iris: number }
  | { do: 'preset_set'; preset: number; name?: string | null } | { do: 'preset_call' | 'preset_delete'; preset: number }
  | { do: 'cruise_start'; cruise: number } | { do: 'cruise_stop' }
  | { do: 'cruise_add'; cruise: number; preset: number; name?: string | null } | { do: 'cruise_remove'; cruise: number; preset?: number | null }
  | { do: 'switch'; number: number; on: boolean }
  | { do: 'home_position'; enabled: boolean; reset_s?: number | null; preset?: number | null }
  | { do: 'record' | 'guard'; on: boolean }
  | { do: 'alarm_reset' } | { do: 'reboot' } | { do: 'format_card'; card: number }
  | { do: 'configure'; settings: Setting[] };
export type Outcome = 'confirmed' | 'sent' | 'unknown';

export type Query = { ask: 'info' | 'status' | 'presets' | 'cruises' | 'home' | 'position' | 'cards' } | { ask: 'cruise'; number: number } | { ask: 'settings'; kinds: SettingKind[] };
export interface Preset { preset: number; name: string }
export interface Card { id: number; name: string; status: string; format_percent: number | null; capacity_mb: number | null; free_mb: number | null }
export interface Answers {
  info: { name: string; manufacturer: string; model: string; firmware: string; channels: number | null };
  status: { online: boolean | null; ok: boolean | null; reason: string; encoding: boolean | null; recording: boolean | null; clock: string; duties: { id: string; duty: string }[] };
  presets: { items: Preset[]; complete: boolean };
  cruises: { items: { number: number; name: string }[]; complete: boolean };
  home: { enabled: boolean | null; reset_s: number | null; preset: number | null };
  position: { pan: number | null; tilt: number | null; zoom: number | null };
  cards: { items: Card[]; complete: boolean };
  settings: { items: Setting[]; missing: SettingKind[] };
}

/** What an order is about: `channels/ID` or `devices/ID`. */
export type Target = { channel: string } | { device: string };

export const orderTo = (to: Target, order: Order, confirm?: string) => api.order(to, { order, ...(confirm ? { confirm } : {}) });

/** The token with which a dangerous order is given again; none where the refusal was another. */
export function confirmation(e: unknown): string | null {
  const more = e instanceof ApiError && e.code === 'confirmation_required' ? e.more.confirm : null;
  return more && typeof more === 'object' && 'token' in more ? String((more as { token: unknown }).token) : null;
}

/** A dangerous order: given, asked about by the gateway, asked of the person, given again. False: the person said no. */
export async function orderTwice(to: Target, order: Order, sure: () => Promise<boolean>): Promise<Outcome | false> {
  try {
    return (await orderTo(to, order)).outcome;
  } catch (e) {
    const token = confirmation(e);
    if (!token) throw e;
    if (!(await sure())) return false;
    return (await orderTo(to, order, token)).outcome;
  }
}
