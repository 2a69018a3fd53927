import { useMemo } from 'react';
import type { Wall } from '../api/types';
import { useStore } from '../state/store';
import { selection } from './actions';
import { Tile } from './Tile';

/** The tiles, always 16:9, as large as the place allows. */
export function WallGrid({ wall, mode, canTake }: { wall: Wall; mode: 'console' | 'screen'; canTake: boolean }) {
  const full = useStore(selection, (s) => s.full);
  const side = Math.sqrt(wall.layout);
  const tiles = useMemo(() => Array.from({ length: wall.layout }, (_, n) =>
    wall.tiles.find((x) => x.n === n) ?? { n, program: `program:wall/${wall.id}/${n}`, source: null, source_name: null, live: null, since: null }), [wall]);
  return (
    <div className="wall-fit">
      <div className={`wall ${full !== null && mode === 'console' ? 'wall-has-full' : ''}`} style={{ gridTemplateColumns: `repeat(${side}, 1fr)`, gridTemplateRows: `repeat(${side}, 1fr)` }}>
        {tiles.map((x) => <Tile key={x.program} wall={wall} tile={x} mode={mode} canTake={canTake} />)}
      </div>
    </div>
  );
}
