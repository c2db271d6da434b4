import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import tls from 'node:tls'
import { ControlPlaneStandIn } from '../host-agent/test/control-plane-stand-in.ts'
import { preparedTree } from '../host-agent/test/prepared-tree.ts'
import { writeKeyFile } from '../host-agent/test/running-agent.ts'
import { buildAll } from '../scripts/build.ts'
import type { Measured } from './measured.ts'
import { selfSignedCertificate } from './self-signed-certificate.ts'

/**
 * P10: what the agent of a host costs. The bundle that is installed runs as a process of its own, with the flags that its unit gives it, over
 * TLS, against a control plane that verifies; a prepared tree stands for the host. Its memory is read from the kernel every half second;
 * its processor time by the share of an idle half minute, plus what one report costs, once in 600 s.
 */
export async function measureHostAgent(): Promise<Measured> {
  const out = await mkdtemp(path.join(os.tmpdir(), 'cf-p10-'))
  try {
    const bundles = await buildAll(path.dirname(import.meta.dirname), out, 'daemon')
    const bundle = bundles.find(({ name }) => name === 'host-agent')
    if (bundle === undefined) throw new Error('there is no bundle of the host agent')
    const idle = await observeAgent(bundle.file, { seconds: 30, nextReportInS: 600 })
    const busy = await observeAgent(bundle.file, { seconds: 30, nextReportInS: 5 })
    const perReportMs = Math.max(0, busy.cpuMs - idle.cpuMs) / Math.max(1, busy.heartbeats)
    const cpuPercent = (idle.cpuMs / 30_000 + perReportMs / 600_000) * 100
    // As ps and systemd count: 1024 * 1024.
    const megabytes = (bytes: number): number => Math.round((bytes / 1024 / 1024) * 10) / 10
    return {
      settings: {
        flags: AGENT_FLAGS,
        ...AGENT_ENVIRONMENT,
        seconds: 30,
        bundleBytes: bundle.bytes,
        tls: true,
      },
      rows: [
        {
          what: 'host-agent, idle',
          rssMB: megabytes(idle.rssMax),
          cpuPercent: Math.round(cpuPercent * 1e4) / 1e4,
          heartbeatBytes: busy.heartbeatBytes,
        },
        {
          what: 'host-agent, a report every 5 s',
          rssMB: megabytes(busy.rssMax),
          cpuPercent: Math.round(busy.cpuMs / 3) / 100,
          heartbeatBytes: busy.heartbeatBytes,
        },
        {
          what: 'osquery, limits of its watchdog (quoted, not run here)',
          rssMB: 200,
          cpuPercent: 10,
          heartbeatBytes: '-',
        },
      ],
      verdict: `${megabytes(idle.rssMax)} MB of memory (to reach: 60), ${cpuPercent.toFixed(4)} % of a processor at 600 s (0.2), heartbeat ${busy.heartbeatBytes} bytes (300). osquery is not installed here; its figures are the defaults of its watchdog.`,
    }
  } finally {
    await rm(out, { recursive: true, force: true })
  }
}

/**
 * What the unit gives to Node. Nothing in a process that mostly waits is worth compiling to machine code; without a compiler it needs less
 * memory, and may be forbidden to make memory executable.
 */
const AGENT_FLAGS = ['--jitless', '--max-semi-space-size=1']
/** One thread for files is enough, and each has a heap of its own. */
const AGENT_ENVIRONMENT = { UV_THREADPOOL_SIZE: '1' }

type Seen = {
  readonly rssMax: number
  readonly cpuMs: number
  readonly heartbeats: number
  readonly heartbeatBytes: number
}

async function observeAgent(
  bundle: string,
  run: { readonly seconds: number; readonly nextReportInS: number },
): Promise<Seen> {
  await using tree = await preparedTree()
  await using server = new ControlPlaneStandIn()
  const directory = await mkdtemp(path.join(os.tmpdir(), 'cf-p10-host-'))
  const { keyFile, publicKey } = await writeKeyFile(directory)
  const plain = new URL(await server.listen())
  const certificate = selfSignedCertificate(directory)
  const front = tls.createServer({ key: certificate.key, cert: certificate.cert }, (socket) => {
    const behind = net.connect(Number(plain.port), plain.hostname)
    socket.pipe(behind).pipe(socket)
    for (const one of [socket, behind]) one.on('error', () => one.destroy())
  })
  await new Promise<void>((resolve) => front.listen(0, '127.0.0.1', resolve))
  const address = front.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  server.authority = `localhost:${address.port}`
  server.nextReportInS = run.nextReportInS
  server.addKey(publicKey, 'web-1')
  const caFile = path.join(directory, 'ca.pem')
  await writeFile(caFile, certificate.cert)
  // On a real host systemctl is asked for failed units; nothing is run for a prepared tree, so what that loads is loaded here.
  const flags = [...AGENT_FLAGS, '--require', 'node:child_process']
  const child = spawn(process.execPath, [...flags, bundle, 'run'], {
    stdio: 'ignore',
    env: {
      ...AGENT_ENVIRONMENT,
      CRYSTAL_FORGE__CLIENT__SERVER_URL: `https://localhost:${address.port}`,
      CRYSTAL_FORGE__CLIENT__PRIVATE_KEY: keyFile,
      CRYSTAL_FORGE__CLIENT__STATE_DIRECTORY: path.join(directory, 'state'),
      CRYSTAL_FORGE__CLIENT__ROOT: tree.root,
      CRYSTAL_FORGE__CLIENT__CA_FILE: caFile,
      CRYSTAL_FORGE__CLIENT__CONTROL_FACTS: 'false',
    },
  })
  try {
    await server.until(() => server.reports.length > 0)
    // The answer is dealt with, and what starting needed is given back or not.
    await sleep(2000)
    const pid = child.pid ?? 0
    const before = cpuMsOf(pid)
    let rssMax = 0
    for (const end = Date.now() + run.seconds * 1000; Date.now() < end; await sleep(500))
      rssMax = Math.max(rssMax, rssOf(pid))
    const beats = server.reports.filter(({ kind }) => kind === 'heartbeat')
    return {
      rssMax,
      cpuMs: cpuMsOf(pid) - before,
      heartbeats: beats.length,
      heartbeatBytes: Math.max(0, ...beats.map((beat) => Buffer.byteLength(JSON.stringify(beat)))),
    }
  } finally {
    child.kill('SIGTERM')
    front.close()
    await rm(directory, { recursive: true, force: true })
  }
}

/** proc_pid_status(5), in bytes. */
function rssOf(pid: number): number {
  return Number(/^VmRSS:\s+([0-9]+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024
}

/** proc_pid_stat(5): user and system time of all threads, ended ones included, in ticks of 10 ms. */
function cpuMsOf(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) * 10
}
