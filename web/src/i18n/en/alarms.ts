import type { alarms as zh } from '../zh/alarms';

export const alarms: Record<keyof typeof zh, string> = {
  'alarm.title': 'Alarms',
  'alarm.sums': '{open} not acknowledged, {gravest} of severity 1',
  'alarm.onlyOpen': 'Not acknowledged only',
  'alarm.severity': 'Severity',
  'alarm.upTo': 'Severity {n} and graver',
  'alarm.severityN': 'Severity {n} (1 is gravest)',
  'alarm.soundOn': 'Sound on',
  'alarm.soundOff': 'Sound off',
  'alarm.none': 'No alarms',
  'alarm.none.next': 'What devices report appears here at once.',
  'alarm.look': 'Look',
  'alarm.look.title': 'Puts the camera on the selected or an empty tile',
  'alarm.noCamera': 'No camera belongs to this alarm',
  'alarm.ack': 'Acknowledge',
  'alarm.note': 'Note',
  'alarm.reset': 'Reset',
  'alarm.wasReset': 'Was reset',
  'alarm.reset.title': 'Tells the device that the alarm was dealt with, so that it reports the next one',
  'alarm.seenBy': 'Acknowledged by {name} at {at}',
  'alarm.resetBy': 'Reset by {name} at {at}',
};
