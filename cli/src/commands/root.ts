import { type CommandDef, defineCommand, type SubCommandsDef } from 'citty'
import { CLI_VERSION } from '../cli-version.ts'
import type { Console } from '../console.ts'
import { applyCommand } from './apply.ts'
import { attestationCommand } from './attestation.ts'
import { controlsCommand } from './controls.ts'
import { dlqCommand } from './dlq.ts'
import { driftCommand } from './drift.ts'
import { enrollTokenCommand } from './enroll-token.ts'
import { exportCommand } from './export.ts'
import { flakeCommand } from './flake.ts'
import { importCommand } from './import.ts'
import { jobCommand } from './job.ts'
import { keyCommand } from './key.ts'
import { keygenCommand } from './keygen.ts'
import { listCommands } from './lists.ts'
import { originalWireCommand } from './original-wire.ts'
import { scoreCommand } from './score.ts'
import { statusCommand } from './status.ts'
import { systemCommand } from './system.ts'
import { tokenCommand } from './token.ts'
import { verifyExportCommand } from './verify-export.ts'
import { waiverCommand } from './waiver.ts'
import { watchCommand } from './watch.ts'
import { whyWaitingCommand } from './why-waiting.ts'

/** Every command of `cf`. */
export function rootCommand(console: Console): CommandDef {
  const subCommands: SubCommandsDef = {
    apply: applyCommand(console),
    drift: driftCommand(console),
    ...listCommands(console),
    controls: controlsCommand(console),
    score: scoreCommand(console),
    export: exportCommand(console),
    'verify-export': verifyExportCommand(console),
    import: importCommand(console),
    waiver: waiverCommand(console),
    attestation: attestationCommand(console),
    system: systemCommand(console),
    watch: watchCommand(console),
    'why-waiting': whyWaitingCommand(console),
    job: jobCommand(console),
    flake: flakeCommand(console),
    dlq: dlqCommand(console),
    token: tokenCommand(console),
    'enroll-token': enrollTokenCommand(console),
    key: keyCommand(console),
    'original-wire': originalWireCommand(console),
    keygen: keygenCommand(console),
    status: statusCommand(console),
  }
  return defineCommand({
    meta: { name: 'cf', version: CLI_VERSION, description: 'Crystal Forge: what a NixOS fleet runs' },
    subCommands,
  })
}
