import type { Key } from '../zh';
import { shell } from './shell';
import { watch } from './watch';
import { confer } from './confer';
import { broadcast } from './broadcast';
import { guests } from './guests';
import { plans } from './plans';
import { messages } from './messages';
import { replay } from './replay';
import { calls } from './calls';
import { phone } from './phone';
import { alarms } from './alarms';
import { devices } from './devices';
import { admin } from './admin';

export const en: Record<Key, string> = { ...shell, ...watch, ...confer, ...broadcast, ...guests, ...plans, ...messages, ...replay, ...calls, ...phone, ...alarms, ...devices, ...admin };
