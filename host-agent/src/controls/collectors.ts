import { accounts, shadow } from './accounts.ts'
import { auditRules, auditStatus } from './audit.ts'
import { autologin } from './autologin.ts'
import { blockDevices } from './block-devices.ts'
import type { Collector } from './collector.ts'
import { dconf } from './dconf.ts'
import { kernelCommandLine, sysctl } from './kernel.ts'
import { keyValueFile, textFile } from './key-value-file.ts'
import { netfilter } from './netfilter.ts'
import { nixConfig } from './nix-config.ts'
import { limits, pam } from './pam.ts'
import { privateKeys } from './private-keys.ts'
import { binaries, certificates, osRelease, systemPaths } from './profile.ts'
import { radios } from './radios.ts'
import { sshd } from './sshd.ts'
import { sudoers } from './sudoers.ts'
import { timeSync, unit } from './systemd.ts'
import { fileTree, worldWritable } from './trees.ts'

/** The closed set of `catalogue/collectors.json`. */
export const COLLECTORS: Readonly<Record<string, Collector>> = {
  accounts,
  'audit-rules': auditRules,
  'audit-status': auditStatus,
  autologin,
  binaries,
  'block-devices': blockDevices,
  certificates,
  dconf,
  'file-tree': fileTree,
  'kernel-command-line': kernelCommandLine,
  'key-value-file': keyValueFile,
  limits,
  netfilter,
  'nix-config': nixConfig,
  'os-release': osRelease,
  pam,
  'private-keys': privateKeys,
  radios,
  shadow,
  sshd,
  sudoers,
  sysctl,
  'system-paths': systemPaths,
  'text-file': textFile,
  'time-sync': timeSync,
  unit,
  'world-writable': worldWritable,
}
