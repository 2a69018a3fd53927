// Simulated cameras and phones (tests/fieldsim), with their events.
import { writeFileSync } from 'node:fs';
import { FIELDSIM, until } from './stage.mjs';

export class Field {
  /** `spec`: { cameras: [...], phones: [...] } with the long options as keys, or a list of command line words. */
  static open(stage, gateway, spec, { name = 'field', keepalive = 5 } = {}) {
    const field = new Field();
    const args = ['--json', '--server', `127.0.0.1:${gateway.sip}`, '--keepalive', String(keepalive)];
    if (Array.isArray(spec)) args.push(...spec);
    else {
      const file = stage.file(`${name}.json`);
      writeFileSync(file, JSON.stringify(spec, null, 2));
      args.push('--file', file);
    }
    field.fps = 25;
    field.events = [];
    field.process = stage.start(name, FIELDSIM, args);
    field.process.watchers.add((line, stream) => {
      if (stream !== 'stdout' || !line.startsWith('{')) return;
      const event = JSON.parse(line);
      event.at = Date.parse(event.time);
      field.events.push(event);
    });
    return field;
  }

  of(name, id) { return this.events.filter((e) => e.event === name && (!id || e.id === id)); }
  next(name, id, seconds = 20, matches = () => true) {
    return until(`fieldsim says ${name} of ${id}`, () => this.events.find((e) => e.event === name && (!id || e.id === id) && matches(e)), seconds, 30);
  }

  /** The wall clock of frame 0 in milliseconds. All cameras of one fieldsim count from its start. */
  get epoch() {
    const [report] = this.of('streaming');
    if (!report) throw new Error('no camera has sent a picture yet');
    return Date.parse(report.epoch);
  }
  /** The camera's own frame number at a wall clock time. */
  frameAt(ms) { return Math.floor(((ms - this.epoch) * this.fps) / 1000); }
  stop() { return this.process.stop(); }
}
