"""A phone on pjsip (Python package pjsua2-python): registers, dials, enters the PIN, holds, resumes, hangs up."""

import sys
import time

import pjsua2 as pj

gateway, port, user, password, number, pin, tone, record = sys.argv[1:9]


class Call(pj.Call):
    up = False
    ended = ""

    def onCallState(self, prm):
        info = self.getInfo()
        if info.state == pj.PJSIP_INV_STATE_DISCONNECTED:
            self.ended = f"{info.lastStatusCode} {info.lastReason}"

    def onCallMediaState(self, prm):
        info = self.getInfo()
        for i, m in enumerate(info.media):
            if m.type == pj.PJMEDIA_TYPE_AUDIO and m.status == pj.PJSUA_CALL_MEDIA_ACTIVE:
                media = self.getAudioMedia(i)
                player.startTransmit(media)
                media.startTransmit(recorder)
                self.up = True


ep = pj.Endpoint()
ep.libCreate()
config = pj.EpConfig()
config.logConfig.level = 0
config.logConfig.consoleLevel = 0
config.uaConfig.threadCnt = 0
config.uaConfig.mainThreadOnly = True
config.medConfig.clockRate = 8000
config.medConfig.noVad = True
ep.libInit(config)
transport = pj.TransportConfig()
transport.port = int(port)
transport.boundAddress = "127.0.0.1"
ep.transportCreate(pj.PJSIP_TRANSPORT_UDP, transport)
ep.libStart()
ep.audDevManager().setNullDev()

player = pj.AudioMediaPlayer()
player.createPlayer(tone)
recorder = pj.AudioMediaRecorder()
recorder.createRecorder(record)


def run(seconds):
    end = time.time() + seconds
    while time.time() < end:
        ep.libHandleEvents(10)


account = pj.Account()
ac = pj.AccountConfig()
ac.idUri = f"sip:{user}@{gateway}"
ac.regConfig.registrarUri = f"sip:{gateway}"
ac.sipConfig.authCreds.append(pj.AuthCredInfo("digest", "*", user, 0, password))
ac.callConfig.timerUse = pj.PJSUA_SIP_TIMER_ALWAYS
ac.callConfig.timerSessExpiresSec = 90
ac.callConfig.timerMinSESec = 90
account.create(ac)
run(1)
info = account.getInfo()
print("registered", info.regStatus, flush=True)

call = Call(account)
prm = pj.CallOpParam(True)
call.makeCall(f"sip:{number}@{gateway}", prm)
run(1.5)
call.dialDtmf(pin + "#")
run(5)
print("up", call.up, flush=True)
call.setHold(pj.CallOpParam())
run(2)
print("held", flush=True)
prm = pj.CallOpParam(True)
prm.opt.flag = pj.PJSUA_CALL_UNHOLD
call.reinvite(prm)
run(3)
print("resumed", flush=True)
stat = call.getStreamStat(0)
print("rtcp_sent_loss", stat.rtcp.txStat.loss, "rtcp_updates", stat.rtcp.txStat.updateCount, "rx_loss", stat.rtcp.rxStat.loss, flush=True)
prm = pj.CallOpParam()
call.hangup(prm)
run(0.5)
print("ended", call.ended, flush=True)
del recorder, player
ep.libDestroy()
