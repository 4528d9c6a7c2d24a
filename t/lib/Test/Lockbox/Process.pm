package Test::Lockbox::Process;

# A child process of a test: started, watched and stopped by its pid.

use strict;
use warnings;

use Config;
use Exporter qw(import);
use POSIX qw(:sys_wait_h);
use Time::HiRes ();

our @EXPORT_OK = qw(poll);

# Seconds after which what was waited for counts as never to come.
our $Timeout = $ENV{LOCKBOX_TIMEOUT} // 20;


# Calls the check until it returns something true, and returns that; returns
# nothing once the seconds are over.
sub poll {
    my ($check, $seconds) = @_;

    my $deadline = Time::HiRes::time() + ($seconds // $Timeout);

    while (1) {
        my $result = $check->();
        return $result if $result;
        return if Time::HiRes::time() > $deadline;
        Time::HiRes::sleep(0.01);
    }
}

# The processes of a group that run; those that nobody has reaped do not.
sub group {
    my ($group) = @_;

    my @members;

    for my $file (glob '/proc/[0-9]*/stat') {
        open my $stat, '<', $file or next;
        my ($pid, $state, $its_group) =
            (<$stat> // '') =~ /^(\d+) .*\) (\S) \d+ (\d+)/s or next;
        push @members, $pid if $its_group == $group && $state ne 'Z';
    }

    return @members;
}

# start(name => ..., command => [...] or code => sub {...}, dir => ...,
# output => FILE).  It leads a process group of its own.
sub start {
    my ($class, %options) = @_;

    my $pid = fork // die "fork: $!\n";

    if ($pid == 0) {
        eval { run_child(%options) };
        print STDERR $@;
        POSIX::_exit(127);
    }

    return bless { name => $options{name}, pid => $pid }, $class;
}

sub run_child {
    my (%options) = @_;

    setpgrp;
    chdir $options{dir} or die "$options{dir}: $!\n";
    open STDIN, '<', '/dev/null' or die "/dev/null: $!\n";
    open STDOUT, '>>', $options{output} or die "$options{output}: $!\n";
    open STDERR, '>>', $options{output} or die "$options{output}: $!\n";
    STDOUT->autoflush;
    $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP PIPE);

    if ($options{code}) {
        $options{code}->();
        POSIX::_exit(0);
    }

    exec { $options{command}[0] } @{ $options{command} }
        or die "$options{command}[0]: $!\n";
}

sub name {
    my ($self) = @_;

    return $self->{name};
}

sub pid {
    my ($self) = @_;

    return $self->{pid};
}

# Holds something that is to last as long as the process.
sub keep {
    my ($self, $what) = @_;

    push @{ $self->{kept} }, $what;
}

# The wait status once the process has ended, else undef.
sub status {
    my ($self) = @_;

    if (!defined $self->{status}) {
        local $?;
        $self->{status} = $? if waitpid($self->{pid}, WNOHANG) == $self->{pid};
    }

    return $self->{status};
}

sub running {
    my ($self) = @_;

    return !defined $self->status;
}

# All processes of its group, itself included.
sub members {
    my ($self) = @_;

    return group($self->{pid});
}

sub signal {
    my ($self, $signal) = @_;

    kill $signal, $self->{pid} if $self->running;
}

# Asks the given processes of the group to end, or else the first one, and
# kills the whole group if that leaves any.  Returns what was wrong, or ''.
sub stop {
    my ($self, $signal, @pids) = @_;

    my $gone = sub { !$self->running && !$self->members };
    return "$self->{name} had ended before, " . $self->how if $gone->();

    kill $signal, @pids ? @pids : $self->{pid};

    if (!poll($gone)) {
        kill 'KILL', -$self->{pid};
        poll($gone);
        return "$self->{name} had to be killed";
    }

    return $self->{status} == 0 || $self->how eq "by SIG$signal"
        ? '' : "$self->{name} ended " . $self->how;
}

# How it ended: "by SIGTERM" or "with status 1".
sub how {
    my ($self) = @_;

    my $number = $self->{status} & 127
        or return 'with status ' . ($self->{status} >> 8);

    return 'by SIG' . (split ' ', $Config::Config{sig_name})[$number];
}


1;
