package Demo;

# What the scripts of the demonstration share: where it runs, who is in it,
# and how to stop it.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use Time::HiRes ();

my $Here;

BEGIN {
    $Here = dirname(abs_path(__FILE__));
}

use lib "$Here/../../t/lib";

use Lockbox::Jose qw(key token);

my $VENDOR = 'https://login.vendor.example';
my $CUSTOMERS = 'https://login.customers.example';

my %KEYS = ($VENDOR => ['P-256', 'vendor'],
            $CUSTOMERS => ['RSA2048', 'customers']);

my %PEOPLE = (
    engineer => { sub => 'erin', iss => $VENDOR,
                  claims => { groups => ['support-engineers'] } },
    manager  => { sub => 'mona', iss => $VENDOR,
                  claims => { groups => ['managers'] } },
    auditor  => { sub => 'audrey', iss => $VENDOR,
                  claims => { groups => ['auditors'] } },
    customer => { sub => 'carl', iss => $CUSTOMERS,
                  claims => { roles => ['lockbox-approver'],
                              tenant_id => 'acme' } },
    'customer-globex' => { sub => 'gina', iss => $CUSTOMERS,
                           claims => { roles => ['lockbox-approver'],
                                       tenant_id => 'globex' } },
);


# The directory of conf/demo, and that of the checkout.
sub here {
    return $Here;
}

sub top {
    return dirname(dirname($Here));
}

# Where everything that is made stands.  Not in the checkout: the workers of a
# nginx that root has started are another user's and may not be let in there.
sub dir {
    return ($ENV{LOCKBOX_DEMO_TMPDIR} // '/tmp') . "/lockbox-demo-$>";
}

# Of the engineers' door, and of the customers' own.
sub port {
    return $ENV{LOCKBOX_DEMO_PORT} // 8080;
}

sub own_port {
    return $ENV{LOCKBOX_DEMO_OWN_PORT} // 8081;
}

sub roles {
    return sort keys %PEOPLE;
}

sub name_of {
    my ($role) = @_;

    return $PEOPLE{$role}{sub};
}

# The identity provider's key: "vendor" or "customers".
sub provider_key {
    my ($name) = @_;

    my ($iss) = grep { $KEYS{$_}[1] eq $name } keys %KEYS;

    return demo_key(@{ $KEYS{$iss} });
}

# What the provider issues to somebody who logs in.
sub identity {
    my ($role) = @_;

    my $person = $PEOPLE{$role};

    return token(key => demo_key(@{ $KEYS{ $person->{iss} } }), %$person,
                 aud => 'lockbox', life => 3600);
}

sub demo_key {
    local $Lockbox::Jose::Keys_dir = dir() . '/keys';

    return key(@_);
}

# Calls the check until it returns something true, and returns that; or
# nothing after ten seconds.
sub poll {
    my ($check) = @_;

    for (1 .. 500) {
        my $result = $check->();
        return $result if $result;
        Time::HiRes::sleep(0.02);
    }

    return;
}

# Ends what runs and returns how many there were; dies if one stays.
sub stop {
    my $stopped = 0;

    for my $name (qw(nginx redis)) {
        my $pid = slurp(dir() . "/$name.pid") =~ /^(\d+)$/ ? $1 : next;

        next unless is_ours($pid);

        kill 'TERM', $pid;
        poll(sub { !is_ours($pid) }) or die "$name, pid $pid, does not end\n";
        $stopped++;
    }

    return $stopped;
}

# A pid file may be older than the process that has its number now.
sub is_ours {
    my ($pid) = @_;

    return index(slurp("/proc/$pid/cmdline"), dir()) >= 0;
}

# What is in the file; nothing if there is none.
sub slurp {
    my ($file) = @_;

    open my $fh, '<:raw', $file or return '';
    local $/;

    return <$fh> // '';
}


1;
