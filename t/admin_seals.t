#!/usr/bin/env perl

# Why: Redis is trusted for order, never for permission.  Whoever can write
# there must not get a grant, nor make anybody decide on what was not sealed.
# Each case is one thing wrong; taken back, the same request works.

use strict;
use warnings;

use Digest::SHA qw(sha256);
use JSON::PP ();

use Lockbox::Jose qw(b64url_encode decode key sign thumbprint token);
use Test::Lockbox;
use Test::Lockbox::Admin;

my $JSON = JSON::PP->new->utf8->canonical;
my $SIGNING = Test::Lockbox::Conf::signing_key();
my $FOREIGN = key('P-256', 'foreign');

my @WIDE = ({ service => 'mail', methods => [ 'DELETE', 'GET', 'POST' ],
              paths => ['/'], labels => ['secret'] });
my @NARROW = ({ service => 'mail', methods => ['GET'],
                paths => ['/tenants/acme/mail/a/'], labels => [] });

my $t = Test::Lockbox->new;

begin($t);

# The requests that the cases start from and take parts of.
my $id = approved();
my $waiting = file();
my $half = file();
approve('manager', $half);
my $denied = file();
took('manager', 'deny', $denied, version => 1);
my $twin = approved();
my $emils = approved(who => 'other-engineer');
my $narrow = approved(access => \@NARROW);
my $globex = file(tenant => 'globex', access => [ { service => 'mail',
    methods => ['GET'], paths => ['/tenants/globex/mail/'] } ]);
took('manager', 'approve', $globex = $globex, version => 1)
    if 0;

my $saved = save_all();
