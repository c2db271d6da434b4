import { expect, test } from 'vitest'
import { jsonLog } from './log.ts'

function logged(message: string, fields: Record<string, unknown>): string {
  const lines: string[] = []
  jsonLog('server', { write: (line) => void lines.push(line) })('warn', message, fields)
  return lines.join('')
}

test('whatever stands in a field, a line stays one line that steers no terminal', () => {
  const hostile = Array.from({ length: 0xa1 }, (_, code) => String.fromCharCode(code)).join('')
  const line = logged('refused', { name: `${hostile}\u2028\u2029"} {"level":"error"`, more: [hostile] })
  expect(line).toMatch(/^\P{Cc}+\n$/u)
  expect(line).not.toMatch(/[\u2028\u2029]/)
  expect(JSON.parse(line)).toMatchObject({ level: 'warn', message: 'refused', more: [hostile] })
})

test('no field takes the place of what filters look for', () => {
  const line: unknown = JSON.parse(
    logged('refused', { message: 'no', level: 'debug', program: 'other', at: 'never' }),
  )
  expect(line).toMatchObject({ message: 'refused', level: 'warn', program: 'server' })
})

test('an error is logged with what caused it', () => {
  const error = new Error('could not build', { cause: new Error('no space') })
  expect(JSON.parse(logged('failed', { error }))['error']).toMatch(
    /could not build[\s\S]*caused by Error: no space/,
  )
})

test.each([
  [undefined, 'program', 'sweep'],
  ['forge-sweep', 'function', 'forge-sweep'],
])('what is counted becomes a metric of whoever counted: deployed as %s', (deployedAs, dimension, value) => {
  const lines: string[] = []
  const write = (line: string): void => void lines.push(line)
  jsonLog('sweep', { write, metrics: ['failed', 'late'], deployedAs })('info', 'sweep', {
    failed: 2,
    late: 'no',
  })
  const line: unknown = JSON.parse(lines.join(''))
  expect(line).toMatchObject({
    [dimension]: value,
    failed: 2,
    _aws: {
      CloudWatchMetrics: [
        {
          Namespace: 'crystal-forge',
          Dimensions: [[dimension]],
          Metrics: [{ Name: 'failed', Unit: 'Count' }],
        },
      ],
    },
  })
})
