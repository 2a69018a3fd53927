import { describe, expect, it } from 'vitest';
import { query, seg } from '../src/api/client';
import type { Conference, Device, Member, ServerEvent } from '../src/api/types';
import { parseRoute } from '../src/route';
import { apply, conferences, jobOf, jobs, notices } from '../src/state/live';
import { key, searchKey } from '../src/state/branches';
import { rowsOf } from '../src/state/tree';
import { plot } from '../src/pages/watch/TrackBox';
import { bitRate, bytes, duration } from '../src/ui/format';

const member = (id: string) => ({ id, name: id, muted: false }) as Member;
const event = (e: object) => apply({ at: '2026-03-01T00:00:00Z', seq: 1, ...e } as ServerEvent);

describe('events', () => {
  it('change the conference they name', () => {
    event({ type: 'conference', conference: { id: 'c', members: [member('a')] } as unknown as Conference });
    event({ type: 'member', conference: 'c', member: member('b') });
    event({ type: 'member', conference: 'c', member: { ...member('a'), muted: true } });
    event({ type: 'member_left', conference: 'c', member: 'b', reason: { zh: '', en: '' } });
    expect(conferences.get().get('c')!.members).toEqual([{ ...member('a'), muted: true }]);
    event({ type: 'member', conference: 'unknown', member: member('x') });
    event({ type: 'conference_ended', id: 'c' }); expect(conferences.get().size).toBe(0);
  });
  it('keep the jobs and the last notices', () => {
    event({ type: 'job', job: { id: 'j', stream: 's' } }); expect(jobOf(jobs.get(), 's')?.id).toBe('j');
    event({ type: 'job_ended', id: 'j' }); expect(jobOf(jobs.get(), 's')).toBeNull();
    for (let i = 0; i < 250; i++) event({ type: 'notice', severity: 'info', zh: `${i}`, en: `${i}`, object: null });
    expect(notices.get()).toHaveLength(200); expect(notices.get().at(-1)!.en).toBe('249');
  });
});

describe('small things', () => {
  it('put ids with a slash into one path segment', () => { expect(seg('gb28181:1/2')).toBe('gb28181:1%2F2'); expect(query({ a: undefined, b: 1, c: '' })).toBe('?b=1'); });
  it('read the path', () => { expect(parseRoute('/wall/2')).toMatchObject({ page: 'wall', arg: '2' }); expect(parseRoute('/')).toMatchObject({ page: 'watch' }); expect(parseRoute('/confer/a%2Fb').arg).toBe('a/b'); });
  it('say durations and sizes', () => { expect(duration(4.9, 'en')).toBe('4 s'); expect(duration(130, 'zh')).toBe('2 分 10 秒'); expect(duration(90_000, 'en')).toBe('1 d 1 h'); expect(bytes(1.62e12)).toBe('1.6 TB'); expect(bitRate(3_870_000)).toBe('3.9 Mbit/s'); });
  it('make rows of the tree: one channel is one row, a search shows what matches', () => {
    const c = (id: string, name: string) => ({ id, name, kind: 'video' });
    const nvr = { id: 'n', name: 'Recorder', channels: [c('n/1', 'East'), c('n/2', 'West')] } as unknown as Device, cam = { id: 'k', name: 'Gate', channels: [c('k/1', 'Gate')] } as unknown as Device;
    expect(rowsOf([nvr, cam], new Set(), '').map((r) => r.kind)).toEqual(['device', 'channel', 'channel', 'channel']);
    expect(rowsOf([nvr, cam], new Set(['n']), '').map((r) => r.kind)).toEqual(['device', 'channel']);
    expect(rowsOf([nvr], new Set(), 'west')).toHaveLength(2); expect(rowsOf([nvr], new Set(), 'recorder')).toHaveLength(3);
  });
});

describe('the tree of a large device', () => {
  const device = { id: 'gb28181:1', bridge: 'gb28181', name: 'Platform', kind: 'platform', online: true, offline_reason: null, channels: [], channel_count: 20_000, channels_online: 9, tree: true } as unknown as Device;
  const node = (id: string, kind: 'group' | 'camera', children = 0) => ({ id, channel: `gb28181:1/${id}`, name: `N ${id}`, kind, online: true, ptz: false, video: kind === 'camera', children, cameras: children, cameras_online: children });
  const branch = (total: number, items: ReturnType<typeof node>[], stale = false) => ({ total, items, stale });
  it('is read line by line as it is opened', () => {
    const none = { branches: new Map(), opened: new Set<string>() };
    expect(rowsOf([device], new Set(), '', undefined, none).map((r) => r.kind)).toEqual(['device']);
    const opened = new Set([key('gb28181:1', ''), key('gb28181:1', 'g')]);
    expect(rowsOf([device], new Set(), '', undefined, { branches: new Map(), opened }).map((r) => r.kind)).toEqual(['device', 'more']);
    const branches = new Map([[key('gb28181:1', ''), branch(1, [node('g', 'group', 700)])], [key('gb28181:1', 'g'), branch(700, [node('c', 'camera')], true)]]);
    const stale: [string, string, string][] = [];
    const rows = rowsOf([device], new Set(), '', undefined, { branches, opened, stale });
    expect(rows.map((r) => r.kind)).toEqual(['device', 'node', 'channel', 'more']);
    expect(stale).toEqual([['gb28181:1', 'g', '']]);
    const found = new Map([[searchKey('gb28181:1', 'gate'), branch(1, [{ ...node('c', 'camera'), path: ['G', 'O'] } as ReturnType<typeof node>])]]);
    const hits = rowsOf([device], new Set(), 'gate', undefined, { branches: found, opened: new Set() });
    expect(hits.map((r) => r.kind)).toEqual(['device', 'channel']);
    expect(hits[1]).toMatchObject({ path: 'G / O' });
  });
});

describe('a track on the plane', () => {
  it('fits into the box, north is up, and the bar is a round number', () => {
    const p = plot([{ longitude: 118, latitude: 31 }, { longitude: 118.001, latitude: 31 }, { longitude: 118.001, latitude: 31.001 }])!;
    expect(p.at[1]!.x).toBeGreaterThan(p.at[0]!.x);
    expect(p.at[2]!.y).toBeLessThan(p.at[1]!.y);
    for (const q of p.at) { expect(q.x).toBeGreaterThanOrEqual(0); expect(q.x).toBeLessThanOrEqual(300); expect(q.y).toBeGreaterThanOrEqual(0); expect(q.y).toBeLessThanOrEqual(180); }
    expect([5, 10, 20, 50]).toContain(p.bar);
    expect(plot([])).toBeNull();
  });
});
