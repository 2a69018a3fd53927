// The microphone of a talk (WHIP), sound only. One try: who talks holds a button and would rather press again than wait.
import { api } from '../api/client';
import { endLeg, legBegan } from './legs';
import { gathered } from './whep';

export class TalkLeg {
  pc: RTCPeerConnection | null = null;
  private leg = '';

  /** The offer, ready to be posted. `back`: what a camera sends back on the same session. */
  async offer(mic: MediaStream, back: (s: MediaStream) => void, lost: () => void): Promise<string> {
    const pc = new RTCPeerConnection({ iceServers: [], bundlePolicy: 'max-bundle' });
    this.pc = pc;
    pc.addTransceiver(mic.getAudioTracks()[0]!, { direction: 'sendrecv', streams: [mic] });
    pc.ontrack = (e) => { if (e.track.kind === 'audio') back(new MediaStream([e.track])); };
    pc.onconnectionstatechange = () => { if (this.pc === pc && (pc.connectionState === 'failed' || pc.connectionState === 'closed')) lost(); };
    await pc.setLocalDescription();
    await gathered(pc);
    return pc.localDescription!.sdp;
  }

  /** `post`: where the offer goes; a talk's microphone unless it is said. */
  async answer(talk: string, sdp: string, post = api.talkWhip): Promise<void> {
    const a = await post(talk, sdp);
    this.leg = a.leg; legBegan(a.leg, () => this.close());
    if (!this.pc) { this.close(); return; }
    await this.pc.setRemoteDescription({ type: 'answer', sdp: a.answer });
  }

  close() {
    const { pc, leg } = this;
    this.pc = null; this.leg = '';
    if (pc) { pc.onconnectionstatechange = null; pc.close(); }
    endLeg(leg);
  }
}
