import { measureWebhookToVerdict } from '/work/main/bench/p5-webhook-to-verdict.ts'

const m = await measureWebhookToVerdict()
console.table(m.rows)
console.log(m.verdict)
