import { RemovalPolicy } from 'aws-cdk-lib'

/**
 * What outlives its stack: data, keys, secrets, logs. What a first deployment made and then rolled back is removed again,
 * because it is empty and its name would stand in the way of the next try.
 */
export const KEPT: RemovalPolicy = RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE
