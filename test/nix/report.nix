# The report of a system with every STIG module, as it lies in its closure.
args@{ harness ? null, generation ? "24.11" }: (import ./scenarios.nix args).report.parsed
