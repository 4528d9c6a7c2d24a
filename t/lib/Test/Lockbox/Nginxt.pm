package Test::Lockbox::Nginxt;

# Configurations that "nginx -t" must refuse, each with a twin that it takes.

use strict;
use warnings;

use Exporter qw(import);
use Test::More ();

our @EXPORT = qw(%PARTS rejected accepted gate admin issuer);

# What all configurations of a test have in common: parts of conf().
our %PARTS;

# A gated location; directives may be changed, or left out with undef.
sub gate {
    my (%directives) = @_;

    return block('location /gated/', lockbox => 'on', lockbox_tenant => 'acme',
                 lockbox_service => 'mail', return => '204', %directives);
}

# The admin location, or another one with further directives.
sub admin {
    my ($location, %directives) = @_;

    return block('location ' . ($location // '/lockbox/'),
                 lockbox_admin => 'on', %directives);
}

# The block of an issuer, whose keys are in vendor.json.
sub issuer {
    my (%members) = @_;

    my $iss = delete $members{iss} // 'https://issuer.example';
    my $keys = exists $members{keys} ? delete $members{keys} : 'vendor.json';

    return block("lockbox_issuer $iss",
        keys => defined $keys
                ? [ map { "%%TESTDIR%%/$_" } ref $keys ? @$keys : $keys ]
                : undef,
        audience => 'lockbox', role => 'engineer groups=support', %members);
}

sub block {
    my ($name, %directives) = @_;

    return join "\n", "$name {",
        map({ my $name = $_;
              map { "    $name $_;" }
                  ref $directives{$name} ? @{ $directives{$name} }
                                         : $directives{$name} // () }
            sort keys %directives), "}\n";
}

sub nginx_t {
    my ($t, $parts) = @_;

    my %directives = (%{ $PARTS{directives} // {} },
                      %{ $parts->{directives} // {} });

    return $t->nginx_test($t->conf(%PARTS, %$parts,
                                   directives => \%directives));
}

# The message must match; the twin, if there is one, must be taken.
sub rejected {
    my ($t, $name, $pattern, $parts, $twin) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    my ($exit, $output) = nginx_t($t, $parts);

    Test::More::is($exit, 1, $name);
    Test::More::like($output, qr/\[emerg\].*$pattern/, "$name: the message");

    accepted($t, "$name: its twin", $twin) if $twin;
}

sub accepted {
    my ($t, $name, $parts) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    my ($exit, $output) = nginx_t($t, $parts);

    Test::More::is($exit, 0, $name) or Test::More::diag($output);
}


1;
