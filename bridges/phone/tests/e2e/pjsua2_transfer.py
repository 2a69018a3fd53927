"""A phone on pjsip (Python package pjsua2-python): calls another phone, presses keys, holds, resumes, transfers it away."""

import sys
import time

import pjsua2 as pj

gateway, port, user, password, number, target, tone, record = sys.argv[1:9]


class Call(pj.Call):
    up = False
    ended = ""
    transfer = []

    def onCallState(self, prm):
        info = self.getInfo()
        if info.state == pj.PJSIP_INV_STATE_DISCONNECTED:
            self.ended = f"{info.lastStatusCode} {info.lastReason}"

    def onCallTransferStatus(self, prm):
        self.transfer.append(prm.statusCode)
        print("transfer", prm.statusCode, prm.finalNotify, flush=True)

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
call.makeCall(f"sip:{number}@{gateway}", pj.CallOpParam(True))
run(3)
print("up", call.up, flush=True)
call.dialDtmf("159#")
run(2)
call.setHold(pj.CallOpParam())
run(2)
print("held", flush=True)
prm = pj.CallOpParam(True)
prm.opt.flag = pj.PJSUA_CALL_UNHOLD
call.reinvite(prm)
run(3)
print("resumed", flush=True)
call.xfer(f"sip:9998@{gateway}", pj.CallOpParam())
run(1.5)
print("still up", call.isActive(), flush=True)
call.xfer(f"sip:{target}@elsewhere.example", pj.CallOpParam())
run(1.5)
print("still up", call.isActive(), flush=True)
call.setHold(pj.CallOpParam())
run(1)
call.xfer(f"sip:{target}@{gateway}", pj.CallOpParam())
run(4)
if call.isActive():
    call.hangup(pj.CallOpParam())
    run(0.5)
print("ended", call.ended, flush=True)
del recorder, player
ep.libDestroy()
