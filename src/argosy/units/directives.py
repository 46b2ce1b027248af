"""Which keys and sections systemd knows, so that a misspelled one can be named.

The lists are those of `systemd --dump-configuration-items`, version 252, with the keys that later versions added. A key
missing here costs a warning that somebody can ignore; nothing is refused because of it.
"""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_EXECUTION = _words("""
    AmbientCapabilities AppArmorProfile BPFDelegateAttachments BPFDelegateCommands
    BPFDelegateMaps BPFDelegatePrograms BindPaths BindReadOnlyPaths CPUAffinity
    CPUSchedulingPolicy CPUSchedulingPriority CPUSchedulingResetOnFork CacheDirectory
    CacheDirectoryAccounting CacheDirectoryMode CacheDirectoryQuota CapabilityBoundingSet
    ConfigurationDirectory ConfigurationDirectoryMode CoredumpFilter DelegateNamespaces
    DynamicUser Environment EnvironmentFile ExecPaths ExecSearchPath ExtensionDirectories
    ExtensionImagePolicy ExtensionImages Group IOSchedulingClass IOSchedulingPriority
    IPCNamespacePath IgnoreSIGPIPE ImportCredential InaccessibleDirectories InaccessiblePaths
    KeyringMode LimitAS LimitCORE LimitCPU LimitDATA LimitFSIZE LimitLOCKS LimitMEMLOCK
    LimitMSGQUEUE LimitNICE LimitNOFILE LimitNPROC LimitRSS LimitRTPRIO LimitRTTIME
    LimitSIGPENDING LimitSTACK LoadCredential LoadCredentialEncrypted LockPersonality
    LogExtraFields LogFilterPatterns LogLevelMax LogNamespace LogRateLimitBurst
    LogRateLimitIntervalSec LogsDirectory LogsDirectoryAccounting LogsDirectoryMode
    LogsDirectoryQuota MemoryDenyWriteExecute MemoryKSM MountAPIVFS MountFlags MountImagePolicy
    MountImages NUMAMask NUMAPolicy NetworkNamespacePath Nice NoExecPaths NoNewPrivileges
    OOMScoreAdjust PAMName PassEnvironment Personality PrivateBPF PrivateDevices PrivateIPC
    PrivateMounts PrivateNetwork PrivatePIDs PrivateTmp PrivateUsers ProcSubset ProtectClock
    ProtectControlGroups ProtectHome ProtectHostname ProtectKernelLogs ProtectKernelModules
    ProtectKernelTunables ProtectProc ProtectSystem ReadOnlyDirectories ReadOnlyPaths
    ReadWriteDirectories ReadWritePaths RemoveIPC RestrictAddressFamilies RestrictFileSystems
    RestrictNamespaces RestrictRealtime RestrictSUIDSGID RootDirectory RootEphemeral RootHash
    RootHashSignature RootImage RootImageOptions RootImagePolicy RootVerity RuntimeDirectory
    RuntimeDirectoryMode RuntimeDirectoryPreserve SELinuxContext SecureBits SetCredential
    SetCredentialEncrypted SetLoginEnvironment SmackProcessLabel StandardError StandardInput
    StandardInputData StandardInputText StandardOutput StateDirectory StateDirectoryAccounting
    StateDirectoryMode StateDirectoryQuota SupplementaryGroups SyslogFacility SyslogIdentifier
    SyslogLevel SyslogLevelPrefix SystemCallArchitectures SystemCallErrorNumber SystemCallFilter
    SystemCallLog TTYColumns TTYPath TTYReset TTYRows TTYVHangup TTYVTDisallocate
    TemporaryFileSystem TimeoutCleanSec TimeoutSec TimerSlackNSec UMask UnsetEnvironment User
    UserNamespacePath UtmpIdentifier UtmpMode WorkingDirectory
""")
"""systemd.exec(5): services, sockets, mounts and swaps."""

_RESOURCES = _words("""
    AllowedCPUs AllowedMemoryNodes BPFProgram BindNetworkInterface BlockIOAccounting
    BlockIODeviceWeight BlockIOReadBandwidth BlockIOWeight BlockIOWriteBandwidth CPUAccounting
    CPUQuota CPUQuotaPeriodSec CPUShares CPUWeight CoredumpReceive DefaultMemoryLow
    DefaultMemoryMin Delegate DelegateSubgroup DeviceAllow DevicePolicy DisableControllers
    IOAccounting IODeviceLatencyTargetSec IODeviceWeight IOReadBandwidthMax IOReadIOPSMax
    IOWeight IOWriteBandwidthMax IOWriteIOPSMax IPAccounting IPAddressAllow IPAddressDeny
    IPEgressFilterPath IPIngressFilterPath ManagedOOMMemoryPressure
    ManagedOOMMemoryPressureDurationSec ManagedOOMMemoryPressureLimit ManagedOOMPreference
    ManagedOOMSwap MemoryAccounting MemoryHigh MemoryLimit MemoryLow MemoryMax MemoryMin
    MemoryPressureThresholdSec MemoryPressureWatch MemorySwapMax MemoryZSwapMax
    MemoryZSwapWriteback NFTSet RestrictNetworkInterfaces Slice SocketBindAllow SocketBindDeny
    StartupAllowedCPUs StartupAllowedMemoryNodes StartupBlockIOWeight StartupCPUShares
    StartupCPUWeight StartupIOWeight StartupMemoryZSwapMax TasksAccounting TasksMax
""")
"""systemd.resource-control(5): those, slices and scopes."""

_KILLING = _words("""
    FinalKillSignal KillMode KillSignal RestartKillSignal SendSIGHUP SendSIGKILL WatchdogSignal
""")
"""systemd.kill(5)."""

_UNIT = _words("""
    After AllowIsolate AssertACPower AssertArchitecture AssertCPUFeature AssertCPUPressure
    AssertCPUs AssertCapability AssertControlGroupController AssertCredential
    AssertDirectoryNotEmpty AssertEnvironment AssertFileIsExecutable AssertFileNotEmpty
    AssertFirstBoot AssertGroup AssertHost AssertIOPressure AssertKernelCommandLine
    AssertKernelModuleLoaded AssertKernelVersion AssertMemory AssertMemoryPressure
    AssertNeedsUpdate AssertOSRelease AssertPathExists AssertPathExistsGlob
    AssertPathIsDirectory AssertPathIsEncrypted AssertPathIsMountPoint AssertPathIsReadWrite
    AssertPathIsSymbolicLink AssertSecurity AssertUser AssertVersion AssertVirtualization Before
     BindsTo CollectMode ConditionACPower ConditionArchitecture ConditionCPUFeature
    ConditionCPUPressure ConditionCPUs ConditionCapability ConditionControlGroupController
    ConditionCredential ConditionDirectoryNotEmpty ConditionEnvironment
    ConditionFileIsExecutable ConditionFileNotEmpty ConditionFirmware ConditionFirstBoot
    ConditionGroup ConditionHost ConditionIOPressure ConditionKernelCommandLine
    ConditionKernelModuleLoaded ConditionKernelVersion ConditionMemory ConditionMemoryPressure
    ConditionNeedsUpdate ConditionOSRelease ConditionPathExists ConditionPathExistsGlob
    ConditionPathIsDirectory ConditionPathIsEncrypted ConditionPathIsMountPoint
    ConditionPathIsReadWrite ConditionPathIsSymbolicLink ConditionSecurity ConditionUser
    ConditionVersion ConditionVirtualization Conflicts DefaultDependencies Description
    Documentation FailureAction FailureActionExitStatus IgnoreOnIsolate JobRunningTimeoutSec
    JobTimeoutAction JobTimeoutRebootArgument JobTimeoutSec JoinsNamespaceOf OnFailure
    OnFailureIsolate OnFailureJobMode OnSuccess OnSuccessJobMode PartOf
     PropagatesReloadTo PropagatesStopTo RebootArgument RefuseManualStart
    RefuseManualStop ReloadPropagatedFrom Requires RequiresMountsFor
    Requisite SourcePath StartLimitAction StartLimitBurst
    StartLimitInterval StartLimitIntervalSec StopPropagatedFrom StopWhenUnneeded SuccessAction
    SuccessActionExitStatus SurviveFinalKillSignal Upholds Wants
""")

_INSTALL = _words("""
    Alias Also DefaultInstance RequiredBy WantedBy
""")

_SERVICE = _words("""
    BusName ExecCondition ExecReload ExecStart ExecStartPost ExecStartPre ExecStop ExecStopPost
    ExitType FailureAction FileDescriptorStoreMax FileDescriptorStorePreserve GuessMainPID
    NonBlocking NotifyAccess OOMPolicy OpenFile PIDFile PermissionsStartOnly RebootArgument
    ReloadSignal RemainAfterExit Restart RestartForceExitStatus RestartMaxDelaySec RestartMode
    RestartPreventExitStatus RestartSec RestartSteps RootDirectoryStartOnly RuntimeMaxSec
    RuntimeRandomizedExtraSec Sockets StartLimitAction StartLimitBurst StartLimitInterval
    SuccessExitStatus TimeoutAbortSec TimeoutStartFailureMode TimeoutStartSec
    TimeoutStopFailureMode TimeoutStopSec Type USBFunctionDescriptors USBFunctionStrings
    WatchdogSec
""")

_SOCKET = _words("""
    Accept AcceptFileDescriptors Backlog BindIPv6Only BindToDevice Broadcast DeferAcceptSec
    DeferTrigger DeferTriggerMaxSec DirectoryMode ExecStartPost ExecStartPre ExecStopPost
    ExecStopPre FileDescriptorName FlushPending FreeBind IPTOS IPTTL KeepAlive
    KeepAliveIntervalSec KeepAliveProbes KeepAliveTimeSec ListenDatagram ListenFIFO
    ListenMessageQueue ListenNetlink ListenSequentialPacket ListenSpecial ListenStream
    ListenUSBFunction Mark MaxConnections MaxConnectionsPerSource MessageQueueMaxMessages
    MessageQueueMessageSize NoDelay PassCredentials PassFileDescriptorsToExec PassPIDFD
    PassPacketInfo PassSecurity PipeSize PollLimitBurst PollLimitIntervalSec Priority
    ReceiveBuffer RemoveOnStop ReusePort SELinuxContextFromNet SendBuffer Service SmackLabel
    SmackLabelIPIn SmackLabelIPOut SocketGroup SocketMode SocketProtocol SocketUser Symlinks
    TCPCongestion Timestamping Transparent TriggerLimitBurst TriggerLimitIntervalSec Writable
""")

_TIMER = _words("""
    AccuracySec DeferReactivation FixedRandomDelay OnActiveSec OnBootSec OnCalendar
    OnClockChange OnStartupSec OnTimezoneChange OnUnitActiveSec OnUnitInactiveSec Persistent
    RandomizedDelaySec RemainAfterElapse Unit WakeSystem
""")

_PATH = _words("""
    DirectoryMode DirectoryNotEmpty MakeDirectory PathChanged PathExists PathExistsGlob
    PathModified TriggerLimitBurst TriggerLimitIntervalSec Unit
""")

_MOUNT = _words("""
    DirectoryMode ForceUnmount LazyUnmount Options ReadWriteOnly SloppyOptions Type What Where
""")

_AUTOMOUNT = _words("""
    DirectoryMode ExtraOptions TimeoutIdleSec Where
""")

_SWAP = _words("""
    Options Priority What
""")

_SLICE = _words("""

""")

_SCOPE = _words("""
    OOMPolicy RuntimeMaxSec RuntimeRandomizedExtraSec TimeoutStopSec
""")

_RUNS_PROGRAMS = _EXECUTION | _RESOURCES | _KILLING

SECTIONS: dict[str, frozenset[str]] = {
    "Unit": _UNIT,
    "Install": _INSTALL,
    "Service": _SERVICE | _RUNS_PROGRAMS,
    "Socket": _SOCKET | _RUNS_PROGRAMS,
    "Timer": _TIMER,
    "Path": _PATH,
    "Mount": _MOUNT | _RUNS_PROGRAMS,
    "Automount": _AUTOMOUNT,
    "Swap": _SWAP | _RUNS_PROGRAMS,
    "Slice": _SLICE | _RESOURCES,
    "Scope": _SCOPE | _RESOURCES | _KILLING,
}
"""The keys of each section. A key that begins with `X-` is nobody's in any of them, and allowed."""


OBSOLETE = {
    "BindTo": "BindsTo",
    "PropagateReloadTo": "PropagatesReloadTo",
    "PropagateReloadFrom": "ReloadPropagatedFrom",
    "RequiresOverridable": "Requires",
    "RequisiteOverridable": "Requisite",
}
"""Spellings in [Unit] that systemd still takes or took until recently, and what they became."""


def sections_of(unit_type: str) -> tuple[str, ...]:
    """The sections that systemd reads in a unit of this type."""
    own = unit_type.capitalize()
    return ("Unit", "Install", own) if own in SECTIONS else ("Unit", "Install")
